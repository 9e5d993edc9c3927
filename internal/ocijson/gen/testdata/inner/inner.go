// Package inner has a struct that another package's struct holds.
package inner

//go:generate go run ../.. -type Part

// Part is held by record.Record.
type Part struct {
	Name string `json:"name"`
}
