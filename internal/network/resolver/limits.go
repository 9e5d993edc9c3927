package resolver

import "time"

// The bounds of one container's resolver.
const (
	maxDatagram = 4096 // of a client's query, and of an answer to it, by UDP; nothing on a loopback device is fragmented
	maxOutside  = 1232 // of an answer from outside by UDP: DNS flag day 2020
	maxQuery    = 4096 // bytes of a query by TCP; real ones have 300 at most

	maxPending   = 512 // queries that wait for outside; one more by UDP is dropped, and its client asks again
	maxExchanges = 64  // of them that have sockets to the outside
	// Queries in a tenth of a second, by UDP and TCP together. Answering costs the host, not the container's share of processors, so a container that asks faster is made to wait.
	maxQueries     = 1000
	queriesTime    = 100 * time.Millisecond
	maxConnections = 64 // of clients, by TCP; one more is closed at once
	maxPipelined   = 16 // queries of one connection at a time
	maxStrangers   = 64 // datagrams on one socket that are no answer, until the server counts as failed

	idleTime  = 10 * time.Second // of a connection between two queries: RFC 7766, section 6.2.3
	writeTime = 5 * time.Second  // until a client has taken an answer

	defaultTry      = 2 * time.Second // that one server has for its answer
	defaultAttempts = 2               // rounds over all servers
	longestTry      = 30 * time.Second
	longestQuery    = 30 * time.Second // all attempts together
	mostAttempts    = 5
	badTime         = 30 * time.Second // that a server which has failed is asked last
	lookTime        = time.Second      // between two looks at the host's configuration

	localTTL = 10 // seconds
	maxChain = 16 // of aliases in an answer

	learnFloor = 90 * time.Second // for clients that keep an address a little longer than they may
	learnGrace = 30 * time.Second // an answer arrives, and is used, later than it was learned
	learnRoof  = time.Hour        // longer TTLs are shortened in the answer itself
)
