package main

// foreignEntries has nothing to do: a 64-bit program of this architecture cannot enter the 32-bit table.
func foreignEntries() {}
