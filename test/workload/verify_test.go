package workload

// verified asks the kernel, as `bulkhead verify` does, whether all processes of the container are confined as it was declared.
func (b *box) verified() {
	b.t.Helper()
	if r, err := server.try("verify", b.name); err != nil || r.code != 0 {
		b.t.Errorf("verify: %+v, %v", r, err)
	}
}
