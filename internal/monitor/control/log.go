package control

// Log says where output is kept.
type Log struct {
	Driver  string // json-file, journald, syslog, none
	Path    string // json-file
	MaxSize int64  // json-file: bytes of a file; 0: no limit
	MaxFile int    // json-file: files, the current one included; 0: 1
	// Compress packs the files of json-file but the current one: PATH.1.gz.
	Compress bool
	// Buffer is how many bytes wait for a log that is slow, and what comes when so many wait is lost. 0: the program waits.
	Buffer  int64
	Tag     string            // what journald and syslog call the program
	Attrs   map[string]string // of every entry: labels and variables that were asked for, and the container's names for journald
	Network string            // syslog: unix, unixgram, udp, tcp; journald: unixgram
	Address string            // of a socket, or host:port
	Format  string            // syslog: "", rfc3164, rfc5424, rfc5424micro
	// Facility is syslog's number, shifted: 24 is daemon.
	Facility int
}
