package server

import "testing"

func TestDerivedLimits(t *testing.T) {
	for _, tt := range []struct {
		descriptors     int
		given, want     Limits
		slowDisconnects int
	}{
		{1 << 20, Limits{}, Limits{Connections: 4096, PerSource: 2048, Unauthenticated: 1024, UnauthenticatedPerSource: 512}, 256},
		{1024, Limits{}, Limits{Connections: 960, PerSource: 480, Unauthenticated: 480, UnauthenticatedPerSource: 240}, 16},
		{400, Limits{}, Limits{Connections: 336, PerSource: 168, Unauthenticated: 168, UnauthenticatedPerSource: 84}, 16},
		{20, Limits{}, Limits{Connections: 10, PerSource: 5, Unauthenticated: 5, UnauthenticatedPerSource: 2}, 1},
		{1, Limits{}, Limits{Connections: 1, PerSource: 1, Unauthenticated: 1, UnauthenticatedPerSource: 1}, 1},
		{1024, Limits{Connections: 100, Unauthenticated: 80},
			Limits{Connections: 100, PerSource: 50, Unauthenticated: 80, UnauthenticatedPerSource: 40}, 256},
	} {
		tt.want.Sessions, tt.want.SessionsEver = DefaultSessions, DefaultSessionsEver
		got, slowDisconnects := tt.given.withDefaults(tt.descriptors)
		if got != tt.want || slowDisconnects != tt.slowDisconnects {
			t.Errorf("%d descriptors: %+v becomes %+v and %d, want %+v and %d",
				tt.descriptors, tt.given, got, slowDisconnects, tt.want, tt.slowDisconnects)
		}
	}
}
