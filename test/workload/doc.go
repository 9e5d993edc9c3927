// Package workload runs what people run: nginx, Redis and PostgreSQL of Debian, and a program that starts as root and steps down, as containers under the secure default with no flags that
// weaken it, and has real clients talk to them.
//
// The root file system is made of Debian's packages once, and kept by recipe below $BULKHEAD_WORKLOAD_CACHE, else ~/.cache/bulkhead/workload: downloading it is most of what the suite takes
// the first time. Each run imports it, makes an image per program on top of it (entry points do what those of the official images do: they chown their data and step down), pushes them to a
// registry on the loopback and pulls them into a second engine, where they run.
package workload
