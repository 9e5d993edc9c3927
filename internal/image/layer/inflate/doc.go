// Package inflate turns the stream of a layer into the bytes of its archive: gzip with any number of members, zstd, or as it is.
//
//	s, err := inflate.Open(ctx, fd, "application/vnd.oci.image.layer.v1.tar+gzip", limits)
//	piece, err := s.Chunk()      // io.EOF at the end
//	id := s.Digest()             // of all that Chunk returned
//	s.Close()
//
// Reading and decompressing is one goroutine, the digest a second; the caller is the third. They pass a handful of buffers around, so that memory
// is what these and the decompressor's window take, however long the stream is.
//
// Security: the media type and the first bytes must say the same. The bytes that come out are bounded, absolutely and by ratio to those that went in,
// zstd's window too. Whatever follows the compressed data that is none is an error.
package inflate
