package main

import "foyer/middleware"

// layers is THE LIST: what a visitor passes through, outermost first. Where a line stands is the security decision.
func layers(cfg *Config, who *users, at *gate, greeting string) []middleware.Layer {
	return []middleware.Layer{
		middleware.Recover(),
		when(cfg.Penalties, middleware.Penalties(who.penalties(cfg, at))),
		middleware.Limits(at.table),
		middleware.Deadlines(at.deadlines(cfg)),
		middleware.Budgets(at.counts),
		middleware.Algorithms(cfg.Algorithms),
		middleware.Logging(at.lines),
		middleware.Vestibule(),
		middleware.Cork(),
		when(who.failLog != nil, middleware.FailLog(who.failLog, who.known)),
		when(!cfg.Open, middleware.PublicKey(who.keys...)),
		when(!cfg.Open, middleware.Password(who.passwords)),
		when(!cfg.Open, middleware.Methods(cfg.Auth...)),
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
