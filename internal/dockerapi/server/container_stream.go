package server

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/container"
)

// containerWait sends its status when it has looked, so that a client that then starts the container misses nothing.
func (s *Server) containerWait(r *request) error {
	until := container.WaitCondition(r.query("condition"))
	switch until {
	case "":
		until = container.WaitConditionNotRunning
	case container.WaitConditionNotRunning, container.WaitConditionNextExit, container.WaitConditionRemoved:
	default:
		return errdef.Errorf(errdef.Invalid, "invalid condition: %.64q", until)
	}
	early := r.atLeast(30)
	end, err := s.Containers.Wait(r.Context(), r.value("name"), until, func() {
		if early {
			r.w.Header().Set("Content-Type", "application/json")
			_ = r.begin(http.StatusOK)
		}
	})
	if err != nil && !r.answered {
		return err
	}
	if err != nil {
		end = container.WaitResponse{StatusCode: -1, Error: &container.WaitExitError{Message: err.Error()}}
	}
	if !r.answered {
		return r.json(http.StatusOK, end)
	}
	data, err := json.Marshal(end)
	if err != nil {
		return err
	}
	_, _ = flushed{r}.Write(append(data, '\n'))
	return nil
}

// begin sends the status and what headers there are, at once.
func (r *request) begin(status int) error {
	r.answered = true
	r.w.WriteHeader(status)
	return http.NewResponseController(r.w).Flush()
}

func (s *Server) containerAttach(r *request) error {
	o := option.Attach{
		Stdin: r.flag("stdin"), Stdout: r.flag("stdout"), Stderr: r.flag("stderr"), Logs: r.flag("logs"), Stream: r.flag("stream"), DetachKeys: r.query("detachKeys"),
	}
	return r.hijacked(r.hijack, func(ctx context.Context, open option.Open) error {
		return s.Containers.Attach(ctx, r.value("name"), o, open)
	})
}

// containerLogs streams what the log has. The status is sent when the first thing that can fail has not.
func (s *Server) containerLogs(r *request) error {
	o := option.Logs{Stdout: r.flag("stdout"), Stderr: r.flag("stderr"), Follow: r.flag("follow"), Timestamps: r.flag("timestamps"), Details: r.flag("details"), Tail: -1}
	if !o.Stdout && !o.Stderr {
		return errdef.Errorf(errdef.Invalid, "Bad parameters: you must choose at least one stream")
	}
	var err error
	if o.Since, err = timestamp(r.query("since")); err != nil {
		return errdef.Errorf(errdef.Invalid, "parameter since: %w", err)
	}
	if o.Until, err = timestamp(r.query("until")); err != nil {
		return errdef.Errorf(errdef.Invalid, "parameter until: %w", err)
	}
	if tail := r.query("tail"); tail != "" && tail != "all" {
		if n, err := strconv.Atoi(tail); err == nil && n >= 0 { // Docker takes what is no number for all
			o.Tail = n
		}
	}
	g := &gathering{r: r}
	err = s.Containers.Logs(r.Context(), r.value("name"), o, func(tty bool) (option.Streams, error) {
		r.w.Header().Set("Content-Type", r.mediaType(tty))
		if err := r.begin(http.StatusOK); err != nil {
			return option.Streams{}, err
		}
		out, problems := outputs(g, tty)
		return option.Streams{Out: out, Err: problems}, nil
	})
	if err != nil && r.answered && r.Context().Err() == nil { // Docker's third stream: an error of the engine
		_, _ = g.Write(appendFrame(nil, 3, []byte("Error grabbing logs: "+err.Error()+"\n")))
	}
	g.stop()
	return err
}

// timestamp reads SECONDS[.NANOSECONDS]; "" and 0 are no time at all.
func timestamp(text string) (time.Time, error) {
	if text == "" || text == "0" {
		return time.Time{}, nil
	}
	whole, part, _ := strings.Cut(text, ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return time.Time{}, errdef.Errorf(errdef.Invalid, "%.64q: wants seconds since 1970, and after a point nanoseconds", text)
	}
	var nano int64
	if part != "" {
		if nano, err = strconv.ParseInt((part + "000000000")[:9], 10, 64); err != nil {
			return time.Time{}, errdef.Errorf(errdef.Invalid, "%.64q: wants seconds since 1970, and after a point nanoseconds", text)
		}
	}
	return time.Unix(seconds, nano), nil
}

// containerStats streams a measurement each second, or sends one.
func (s *Server) containerStats(r *request) error {
	stream := r.query("stream") == "" || r.flag("stream")
	oneShot := r.flag("one-shot")
	if stream && oneShot {
		return errdef.Errorf(errdef.Invalid, "cannot have stream=true and one-shot=true")
	}
	r.w.Header().Set("Content-Type", "application/json")
	err := s.Containers.Stats(r.Context(), r.value("name"), stream, oneShot, func(m container.StatsResponse) error {
		data, err := json.Marshal(m)
		if err != nil {
			return err
		}
		_, err = flushed{r}.Write(append(data, '\n'))
		return err
	})
	if err == nil && !r.answered {
		return r.begin(http.StatusOK) // it ended before there was anything to measure
	}
	return err
}

func (s *Server) containerExport(r *request) error {
	return r.archive(func(w io.Writer) error { return s.Containers.Export(r.Context(), r.value("name"), w) })
}

// archive streams an archive. An error in the middle of it breaks the connection, so that nobody takes what came for whole; a client of ours is told the reason in a
// trailer instead.
func (r *request) archive(write func(io.Writer) error) error {
	r.w.Header().Set("Content-Type", "application/x-tar")
	ours := strings.HasPrefix(r.UserAgent(), Agent)
	if ours {
		r.w.Header().Set("Trailer", ErrorTrailer)
	}
	err := write(plain{r})
	switch {
	case err != nil && r.answered && ours:
		r.w.Header().Set(ErrorTrailer, trailer(err))
		return nil
	case err != nil && r.answered:
		panic(http.ErrAbortHandler)
	}
	if err == nil && !r.answered {
		return r.begin(http.StatusOK)
	}
	return err
}

// statHeader carries what a path in a container is, as JSON in base64.
const statHeader = "X-Docker-Container-Path-Stat"

func (r *request) path() (string, error) {
	p := r.query("path")
	if p == "" {
		return "", errdef.Errorf(errdef.Invalid, "bad parameter: path cannot be empty")
	}
	return p, nil
}

func (r *request) stat(st container.PathStat) error {
	data, err := json.Marshal(st)
	if err != nil {
		return err
	}
	r.w.Header().Set(statHeader, base64.StdEncoding.EncodeToString(data))
	return nil
}

func (s *Server) archiveStat(r *request) error {
	path, err := r.path()
	if err != nil {
		return err
	}
	st, err := s.Containers.StatPath(r.Context(), r.value("name"), path)
	if err != nil {
		return err
	}
	if err := r.stat(st); err != nil {
		return err
	}
	return r.ok(http.StatusOK)
}

func (s *Server) archiveGet(r *request) error {
	path, err := r.path()
	if err != nil {
		return err
	}
	return r.archive(func(w io.Writer) error { return s.Containers.GetArchive(r.Context(), r.value("name"), path, w, r.stat) })
}

func (s *Server) archivePut(r *request) error {
	path, err := r.path()
	if err != nil {
		return err
	}
	o := option.Put{NoOverwriteDirNonDir: r.flag("noOverwriteDirNonDir"), CopyUIDGID: r.flag("copyUIDGID")}
	if err := s.Containers.PutArchive(r.Context(), r.value("name"), path, r.patient(), o); err != nil {
		return err
	}
	return r.ok(http.StatusOK)
}
