// Package server serves Docker's Engine API over the engine's services.
//
//	h := server.New(server.Services{Containers: c, Images: i, Volumes: v, System: s}, server.Options{Version: "0.1.0"})
//	http.Serve(listener, h)
//
// Paths, parameters, JSON, statuses, hijacked connections and streams are those of Docker's reference, from version 1.24 (MinVersion) to Version; a path may begin
// with /v1.NN or not. What the reference has and this engine cannot honour is refused by name, never swallowed; a field that a version of the API does not know is
// ignored, as Docker does. What is ours alone stands below /bulkhead/.
//
// One file per group of routes, each a table of method, pattern and function. A function returns an error, from whose kind (errdef) the status is made; the body is
// Docker's {"message": ...}. A client of ours (User-Agent "bulkhead/") gets the hint apart from the message, others after it. Bodies, headers and times are bounded;
// nothing of a request is trusted.
//
// The services are declared here, as what the routes ask for (services.go), and implemented by the packages engine/*, which do not know this one.
package server
