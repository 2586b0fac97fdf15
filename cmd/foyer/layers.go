package main

import (
	"foyer/middleware"
	"foyer/middleware/pager"
	"foyer/middleware/server"
)

// layers returns THE LIST of layers, outermost first. The last one is the handler that serves the message. The order
// is a security decision: a layer protects only the layers after it.
func layers(cfg *Config, s *server.Server, users *users, texts texts) []middleware.Layer {
	return []middleware.Layer{
		middleware.Recover(),
		when(s.Metrics != nil, middleware.Metrics(s.Metrics)),
		when(len(cfg.ProxyFrom) > 0, middleware.ProxyHeader(proxyHeader(cfg, s))),
		when(cfg.Penalties, middleware.Penalties(s.Tracker)),
		middleware.Limits(s.Table),
		middleware.Deadlines(s.ConnectionDeadlines()),
		middleware.Budgets(s.Budgets),
		middleware.Algorithms(cfg.Algorithms),
		middleware.Logging(s.Events),
		when(users.failLog != nil, middleware.FailLog(users.failLog, users.known)),
		when(!cfg.Open, middleware.PublicKey(users.keys...)),
		when(!cfg.Open, middleware.Password(users.passwords)),
		when(!cfg.Open && cfg.offers("keyboard-interactive"), middleware.KeyboardInteractive(users.passwords)),
		when(!cfg.Open, middleware.Methods(cfg.Auth...)),
		when(cfg.Open, middleware.Open()),
		when(cfg.rules.Banner != nil, middleware.Banner(texts.said)),
		when(len(cfg.rules.sentences) > 0, middleware.Sentences(texts.said, cfg.rules.sentences)),
		when(cfg.PTY == "refuse", middleware.PTYNotice()),
		middleware.ForwardNotice(),
		middleware.Greeting(texts.greeting),
		middleware.HostKeyUpdate(),
		when(len(cfg.rules.Notices) > 0, middleware.Notices(texts.said)),
		when(texts.maintenance != nil, middleware.Maintenance(texts.said, texts.maintenance)),
		when(len(cfg.rules.Answers) > 0 && !texts.unpaged, pager.Layer(texts.said)),
		when(len(cfg.rules.Answers) > 0, middleware.Answers(texts.said)),
		middleware.Message(texts.message),
	}
}

// proxyHeader returns the settings of the layer of that name.
func proxyHeader(cfg *Config, s *server.Server) middleware.ProxyHeaderConfig {
	return middleware.ProxyHeaderConfig{
		From: cfg.ProxyFrom, Timeout: s.Deadlines.Handshake, Table: s.Table, Logger: s.Events.Unauthenticated(),
	}
}

// when returns layer if enabled, and otherwise a layer that does nothing.
func when(enabled bool, layer middleware.Layer) middleware.Layer {
	if enabled {
		return layer
	}
	return middleware.Layer{}
}
