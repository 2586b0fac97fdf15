package limits

// WiderNetworks returns how many wider networks the table knows.
func (t *Table) WiderNetworks() (n int) {
	for _, q := range t.waiting {
		n += len(q.wide)
	}
	return n
}
