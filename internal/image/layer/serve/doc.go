// Package serve is the confined worker: it answers the requests of package wire until the engine closes the socket.
//
//	err := serve.Run(3, "/target")
//
// Each request is a goroutine; requests for different directories do not wait for each other. The engine is trusted, what comes through the streams
// is not; the worker has nothing that it could be talked out of but the directory it works in.
package serve
