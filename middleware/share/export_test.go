package share

// Receive is what a replica does with blocks.
func (r *Replica) Receive(blocks []Block) { r.receive(blocks, 0) }

// ReceiveText is what a replica does with a message.
func (r *Replica) ReceiveText(message string) { r.receive(decode(message)) }
