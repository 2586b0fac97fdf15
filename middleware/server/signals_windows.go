package server

import "os"

// reportSignals is empty: Windows has no signal for it.
var reportSignals []os.Signal

// raise ends the process.
func raise(os.Signal) { os.Exit(1) }
