// Package tarstream reads tar archives that somebody hostile wrote: ustar, PAX, GNU and star headers, long names, extended attributes, and
// sparse files in the old GNU form and in PAX 0.0, 0.1 and 1.0.
//
//	r := tarstream.NewReader(source, tarstream.Limits{})
//	for {
//		h, err := r.Next()              // io.EOF after the end of the archive
//		piece, err := r.Data()          // stored bytes of the entry, a slice of the source's own buffer; io.EOF at their end
//	}
//	err = r.Drain()                         // nothing but zeros may follow
//
// It differs from archive/tar, the oracle of its tests, in three ways. It hands out slices of the source's buffers and copies nothing but
// headers that straddle two of them. It gives a sparse file as its map and its stored bytes, so that a hole of 2^60 bytes costs nothing. And
// it has bounds: on the bytes of the headers that belong to one entry and on the fragments of a sparse file.
//
// Global PAX headers are skipped, as Docker and containerd do. Data of links, directories, devices and FIFOs is not there, whatever their
// size field says (as archive/tar has it). Names are bytes: nothing here says that they are UTF-8, clean or harmless, which is the caller's
// business. Errors are of kind Invalid and say at which byte of the archive.
package tarstream
