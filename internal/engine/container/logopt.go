package container

import (
	"maps"
	"math"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
)

// What of a log there is without options.
const (
	logSize   = 10 << 20
	logFiles  = 5
	logBuffer = 1 << 20 // of mode=non-blocking, Docker's
	maxAttrs  = 64 << 10
)

// journalSocket is where systemd's journal listens.
const journalSocket = "/run/systemd/journal/socket"

// logOptions are those of each driver, as Docker has them.
var logOptions = map[string][]string{
	"json-file": {"max-size", "max-file", "compress", "labels", "labels-regex", "env", "env-regex", "tag", "mode", "max-buffer-size"},
	"journald":  {"labels", "labels-regex", "env", "env-regex", "tag", "mode", "max-buffer-size"},
	"syslog":    {"syslog-address", "syslog-facility", "syslog-format", "tag", "mode", "max-buffer-size"},
	"none":      {},
}

// cannot are options that Docker has, and why they are refused.
var cannot = map[string]string{
	"syslog labels": "syslog has no place for labels", "syslog labels-regex": "syslog has no place for labels",
	"syslog env": "syslog has no place for variables", "syslog env-regex": "syslog has no place for variables",
	"syslog syslog-tls-ca-cert": "no TLS", "syslog syslog-tls-cert": "no TLS", "syslog syslog-tls-key": "no TLS", "syslog syslog-tls-skip-verify": "no TLS",
}

// logOf reads where the output of a container is kept.
func logOf(r *Record) (control.Log, error) {
	o := control.Log{Driver: r.Host.LogConfig.Type, MaxSize: logSize, MaxFile: logFiles, Network: "unix"}
	if o.Driver == "" {
		o.Driver = "json-file"
	}
	known, there := logOptions[o.Driver]
	if !there {
		err := errdef.Errorf(errdef.Unsupported, "log-driver %.64q: there is no such driver", o.Driver)
		return o, errdef.WithHint(err, strings.Join(slices.Sorted(maps.Keys(logOptions)), ", "))
	}
	options := r.Host.LogConfig.Config
	for _, name := range slices.Sorted(maps.Keys(options)) {
		err := error(nil)
		switch why := cannot[o.Driver+" "+name]; {
		case why != "":
			err = errdef.Errorf(errdef.Unsupported, "%s", why)
		case !slices.Contains(known, name):
			err = errdef.WithHint(errdef.Errorf(errdef.Invalid, "unknown log opt for the log driver %s", o.Driver), strings.Join(known, ", "))
		default:
			err = logOption(&o, name, options[name])
		}
		if err != nil {
			return o, errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "log-opt %.64s: %w", name, err), errdef.Hint(err))
		}
	}
	if options["max-buffer-size"] != "" && options["mode"] != "non-blocking" {
		return o, errdef.Errorf(errdef.Invalid, "log-opt max-buffer-size: is for mode=non-blocking")
	}
	if o.Compress && (o.MaxFile < 2 || o.MaxSize == 0) {
		return o, errdef.Errorf(errdef.Invalid, "log-opt compress: cannot be true when max-file is less than 2 or max-size is not set")
	}
	switch {
	case o.Driver == "journald":
		o.Network, o.Address = "unixgram", journalSocket
	case o.Driver == "syslog" && o.Address == "":
		o.Address = "/dev/log"
	}
	if o.Driver == "syslog" && o.Facility == 0 && options["syslog-facility"] == "" {
		o.Facility = 3 << 3 // daemon
	}
	return o, describe(&o, r, options)
}

// logOption reads one option.
func logOption(o *control.Log, name, value string) (err error) {
	switch name {
	case "max-size":
		if value == "-1" {
			o.MaxSize = 0
			return nil
		}
		o.MaxSize, err = sizeOf(value)
	case "max-file":
		if o.MaxFile, err = strconv.Atoi(value); err != nil || o.MaxFile < 1 || o.MaxFile > 1000 {
			return errdef.Errorf(errdef.Invalid, "%.32q: wants 1 to 1000", value)
		}
	case "compress":
		if o.Compress, err = strconv.ParseBool(value); err != nil {
			return errdef.Errorf(errdef.Invalid, "%.32q: wants true or false", value)
		}
	case "mode":
		if value != "blocking" && value != "non-blocking" {
			return errdef.Errorf(errdef.Invalid, "%.32q: wants blocking or non-blocking", value)
		}
		if value == "non-blocking" && o.Buffer == 0 {
			o.Buffer = logBuffer
		}
	case "max-buffer-size":
		o.Buffer, err = sizeOf(value)
	case "syslog-address":
		return syslogAddress(o, value)
	case "syslog-facility":
		o.Facility, err = facility(value)
	case "syslog-format":
		if !slices.Contains([]string{"rfc3164", "rfc5424", "rfc5424micro"}, value) {
			return errdef.Errorf(errdef.Invalid, "%.32q: wants rfc3164, rfc5424 or rfc5424micro", value)
		}
		o.Format = value
	case "labels-regex", "env-regex":
		if _, err := regexp.Compile(value); err != nil {
			return errdef.Errorf(errdef.Invalid, "%.128q: %w", value, err)
		}
	}
	return err
}

// sizeOf reads 10m and the like: a number, and k, m or g, with b or ib behind.
func sizeOf(s string) (int64, error) {
	unit, number := 1.0, strings.ToLower(s)
	number = strings.TrimSuffix(strings.TrimSuffix(number, "b"), "i")
	if number != "" {
		if at := strings.IndexByte("kmg", number[len(number)-1]); at >= 0 {
			unit, number = float64(int64(1)<<(10*(at+1))), number[:len(number)-1]
		}
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if size := n * unit; err == nil && size >= 1 && size < math.MaxInt32*1024 {
		return int64(size), nil
	}
	return 0, errdef.Errorf(errdef.Invalid, "%.32q: wants a size, as 10m", s)
}

// syslogAddress reads udp://HOST:PORT and the like.
func syslogAddress(o *control.Log, value string) error {
	network, address, ok := strings.Cut(value, "://")
	bad := errdef.Errorf(errdef.Invalid, "%.128q: wants udp://HOST[:PORT], tcp://HOST[:PORT], unix://PATH or unixgram://PATH", value)
	switch {
	case !ok || address == "":
		return bad
	case network == "tcp+tls":
		return errdef.WithHint(errdef.Errorf(errdef.Unsupported, "tcp+tls: what a container costs has no TLS in it"), "let a syslog server of this host, at unix:///dev/log, pass it on over TLS")
	case network == "unix" || network == "unixgram":
		if !strings.HasPrefix(address, "/") {
			return bad
		}
	case network == "udp" || network == "tcp":
		if _, _, err := net.SplitHostPort(address); err != nil {
			address = net.JoinHostPort(strings.Trim(address, "[]"), "514")
		}
		if _, port, err := net.SplitHostPort(address); err != nil || port == "" || strings.ContainsAny(address, "/ \t") {
			return bad
		}
	default:
		return bad
	}
	o.Network, o.Address = network, address
	return nil
}

// facility reads a name or a number of RFC 5424, table 1.
func facility(s string) (int, error) {
	names := strings.Fields("kern user mail daemon auth syslog lpr news uucp cron authpriv ftp - - - - local0 local1 local2 local3 local4 local5 local6 local7")
	if at := slices.Index(names, s); at >= 0 && s != "-" {
		return at << 3, nil
	}
	if n, err := strconv.Atoi(s); err == nil && n >= 0 && n < 24 {
		return n << 3, nil
	}
	return 0, errdef.Errorf(errdef.Invalid, "%.32q: there is no such facility", s)
}

// describe fills in what entries say of the container.
func describe(o *control.Log, r *Record, options map[string]string) error {
	o.Attrs = map[string]string{}
	variables := map[string]string{}
	for _, v := range r.Config.Env {
		if name, value, ok := strings.Cut(v, "="); ok {
			variables[name] = value
		}
	}
	pick(o.Attrs, r.Config.Labels, options["labels"], options["labels-regex"])
	pick(o.Attrs, variables, options["env"], options["env-regex"])
	tag, err := tagOf(r, options["tag"])
	if err != nil {
		return err
	}
	switch o.Tag = tag; {
	case o.Driver == "json-file" && options["tag"] != "":
		o.Attrs["tag"] = tag
	case o.Driver == "journald":
		maps.Copy(o.Attrs, map[string]string{"CONTAINER_ID": r.ID[:12], "CONTAINER_ID_FULL": r.ID, "CONTAINER_NAME": r.Name, "IMAGE_NAME": r.Ref})
	case o.Driver == "syslog" && strings.ContainsFunc(tag, func(c rune) bool { return c <= ' ' || c > '~' }):
		return errdef.Errorf(errdef.Invalid, "log-opt tag: %.64q: a tag of syslog has no spaces, and no characters beyond ASCII", tag)
	}
	size := 0
	for k, v := range o.Attrs {
		size += len(k) + len(v)
	}
	if size > maxAttrs {
		return errdef.Errorf(errdef.Invalid, "log-opt labels, env: %d bytes for every line are more than %d", size, maxAttrs)
	}
	return nil
}

// pick copies those of from that a list, with commas, or an expression names.
func pick(to, from map[string]string, list, expression string) {
	for _, name := range strings.Split(list, ",") {
		if v, ok := from[strings.TrimSpace(name)]; ok {
			to[strings.TrimSpace(name)] = v
		}
	}
	if expression == "" {
		return
	}
	re, err := regexp.Compile(expression)
	if err != nil {
		return // logOption has refused it
	}
	for k, v := range from {
		if re.MatchString(k) {
			to[k] = v
		}
	}
}

// tagOf fills in a tag's template; without one it is the short id, as Docker's.
func tagOf(r *Record, text string) (string, error) {
	if text == "" || text == "{{.ID}}" {
		return r.ID[:12], nil
	}
	t, err := template.New("tag").Option("missingkey=error").Parse(text)
	var b strings.Builder
	if err == nil {
		image := ""
		if r.Image != "" {
			image = r.Image.Encoded()
		}
		err = t.Execute(&b, map[string]string{
			"ID": r.ID[:12], "FullID": r.ID, "Name": r.Name, "ImageID": image[:min(12, len(image))], "ImageFullID": image, "ImageName": r.Ref, "DaemonName": "bulkhead",
		})
	}
	if err != nil {
		err := errdef.Errorf(errdef.Invalid, "log-opt tag: %.128q: %w", text, err)
		return "", errdef.WithHint(err, "{{.ID}}, {{.FullID}}, {{.Name}}, {{.ImageID}}, {{.ImageFullID}}, {{.ImageName}}, {{.DaemonName}}")
	}
	if b.Len() > 256 {
		return "", errdef.Errorf(errdef.Invalid, "log-opt tag: %d bytes are more than 256", b.Len())
	}
	return b.String(), nil
}
