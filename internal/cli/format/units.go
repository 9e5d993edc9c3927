package format

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Bytes writes a size as Docker does: three digits, powers of 1000.
func Bytes(n int64) string { return Digits(n, 3) }

// Digits writes a size with so many digits; Docker has four here and there.
func Digits(n int64, digits int) string {
	const units = "kMGTPE"
	if n < 1000 {
		return strconv.FormatInt(n, 10) + "B"
	}
	f, unit := float64(n), -1
	for f >= 1000-5*math.Pow10(2-digits) && unit < len(units)-1 { // what would be written as 1e+03
		f, unit = f/1000, unit+1
	}
	text := strconv.FormatFloat(f, 'f', max(0, digits-len(strconv.Itoa(int(f)))), 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text + units[unit:unit+1] + "B"
}

// Binary writes a size in powers of 1024, with four digits, as Docker does for memory.
func Binary(n float64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	at := 0
	for n >= 1024 && at < len(units)-1 {
		n, at = n/1024, at+1
	}
	return strconv.FormatFloat(n, 'g', 4, 64) + units[at]
}

// Duration writes how long something took or is ago, as Docker does.
func Duration(d time.Duration) string {
	count := func(n int, unit string) string { return strconv.Itoa(n) + " " + unit }
	switch seconds, minutes, hours := int(d.Seconds()), int(d.Minutes()), int(d.Hours()+0.5); {
	case seconds < 1:
		return "Less than a second"
	case seconds == 1:
		return "1 second"
	case seconds < 60:
		return count(seconds, "seconds")
	case minutes == 1:
		return "About a minute"
	case minutes < 60:
		return count(minutes, "minutes")
	case hours == 1:
		return "About an hour"
	case hours < 48:
		return count(hours, "hours")
	case hours < 24*7*2:
		return count(hours/24, "days")
	case hours < 24*30*2:
		return count(hours/24/7, "weeks")
	case hours < 24*365*2:
		return count(hours/24/30, "months")
	}
	return count(int(d.Hours())/24/365, "years")
}

// Ago writes how long a Unix time is ago, "N/A" for none.
func Ago(created int64) string {
	if created <= 0 {
		return "N/A"
	}
	return Duration(time.Since(time.Unix(created, 0))) + " ago"
}
