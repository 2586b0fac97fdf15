package server

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync/atomic"
	"time"

	"foyer/middleware/eventlog"
	"foyer/middleware/metrics"
)

// HTTP is the listener for metrics and health checks. It has no authentication and no encryption.
type HTTP struct {
	// Address is the TCP address; none by default.
	Address string
	// Listener is used instead of the address if it is not nil.
	Listener net.Listener
	// Pprof serves Go's profiles below /debug/pprof too.
	Pprof bool
}

const (
	maxHTTPConnections = 32
	maxHTTPHeader      = 8 << 10
	maxHTTPRequest     = 5 * time.Second  // to send a request
	maxHTTPAnswer      = 10 * time.Second // to read the answer
	maxHTTPIdle        = 90 * time.Second // longer than the interval of most scrapes
	maxProfile         = 2 * time.Minute
)

// phase is what the server does. Only while it serves is it ready.
type phase int32

const (
	starting phase = iota
	serving
	closing
)

func (p phase) String() string {
	return [...]string{"not ready: the server is starting", "ready", "not ready: the server is closing"}[p]
}

func (h HTTP) enabled() bool { return h.Address != "" || h.Listener != nil }

func (h HTTP) listen(ctx context.Context) (net.Listener, error) {
	if h.Listener != nil {
		return h.Listener, nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", h.Address)
	if err != nil {
		return nil, &ListenError{h.Address, err, "choose another address, as in --http 127.0.0.1:9091"}
	}
	return listener, nil
}

// newMetrics makes the metrics of what every server has.
func (s *Server) newMetrics(log *eventlog.TimeoutWriter) {
	if !s.HTTP.enabled() {
		return
	}
	s.Metrics = metrics.New()
	s.Metrics.Limits(s.Counters.Counts)
	s.Metrics.Queue("key_exchange", s.Table.Computing)
	s.Metrics.Blocked(s.Tracker.Blocked)
	s.Metrics.LostLines(log.Lost)
	s.Metrics.Errors(s.front.errors.Load)
}

// httpServer is the HTTP server, and what it says of the SSH server. Nil does nothing.
type httpServer struct {
	http.Server
	listener net.Listener
	phase    atomic.Int32
}

func (h *httpServer) enter(p phase) {
	if h != nil {
		h.phase.Store(int32(p))
	}
}

func (h *httpServer) close() {
	if h != nil {
		_ = h.Close()
		_ = h.listener.Close() // also before Serve has begun
	}
}

// openHTTP serves metrics and health checks until the server is closed.
func (s *Server) openHTTP(ctx context.Context) error {
	if !s.HTTP.enabled() {
		return nil
	}
	listener, err := s.HTTP.listen(ctx)
	if err != nil {
		return err
	}
	if tcp, ok := listener.Addr().(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
		s.Logger.Warn("metrics can be read from other hosts", "addr", listener.Addr(), "hint", "use --http 127.0.0.1:PORT, or a firewall")
	}
	s.http = &httpServer{listener: newRetryListener(listener, &slots{limit: maxHTTPConnections}), Server: http.Server{
		Handler: s.handler(), MaxHeaderBytes: maxHTTPHeader, Protocols: &http.Protocols{},
		ReadTimeout: maxHTTPRequest, WriteTimeout: maxHTTPAnswer, IdleTimeout: maxHTTPIdle,
		ErrorLog: slog.NewLogLogger(s.Logger.Handler(), slog.LevelDebug),
	}}
	s.http.Protocols.SetHTTP1(true)
	if s.HTTP.Pprof {
		s.http.WriteTimeout = maxProfile
	}
	s.Logger.Info("http listening", "addr", listener.Addr())
	go func() { _ = s.http.Serve(s.http.listener) }()
	return nil
}

// HTTPAddr returns the address of the HTTP listener, which must be open.
func (s *Server) HTTPAddr() net.Addr { return s.http.listener.Addr() }

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.Metrics.Handler())
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, r *http.Request) {
		why := "alive"
		err := s.Alive(maxHTTPRequest)
		if err != nil {
			why = "no client is greeted: " + err.Error()
		}
		answerCheck(w, r, err == nil, why)
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		now := phase(s.http.phase.Load())
		ok, why := now == serving, now.String()
		if ok && s.Unready != nil {
			if reason := s.Unready(); reason != "" {
				ok, why = false, "not ready: "+reason
			}
		}
		answerCheck(w, r, ok, why)
	})
	if s.HTTP.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}

// answerCheck answers a health check. With ?verbose it says why.
func answerCheck(w http.ResponseWriter, r *http.Request, ok bool, why string) {
	text := "ok"
	if !ok {
		text = "failed"
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	if r.URL.Query().Has("verbose") {
		text = why
	}
	_, _ = fmt.Fprintln(w, text)
}
