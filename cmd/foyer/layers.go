package main

import (
	"charm.land/log/v2"

	"foyer/middleware"
)

// layers is THE LIST: what a visitor passes through, outermost first. Where a line stands is the security decision.
func layers(cfg *Config, logger *log.Logger, verify func(user, password string) bool, greeting string) []middleware.Layer {
	return []middleware.Layer{
		middleware.Recover(),
		middleware.Logging(logger),
		when(!cfg.Open, middleware.Password(verify)),
		when(cfg.Open, middleware.Open()),
		when(cfg.PTY == "refuse", middleware.PTYNotice()),
		middleware.Greeting(greeting),
	}
}

// when returns layer if it is wanted, and a layer that does nothing if not.
func when(wanted bool, layer middleware.Layer) middleware.Layer {
	if wanted {
		return layer
	}
	return middleware.Layer{}
}
