package server

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/jsonstream"
)

// imageCreate pulls an image, or makes one of an archive.
func (s *Server) imageCreate(r *request) error {
	if r.query("fromSrc") != "" {
		return s.imageImport(r)
	}
	ref, tag := r.query("fromImage"), r.query("tag")
	if ref == "" {
		return errdef.Errorf(errdef.Invalid, "parameter fromImage: it names no image")
	}
	o := option.Pull{All: tag == "" && !named(ref), Policy: r.query("policy")}
	switch {
	case strings.Contains(tag, ":"): // a digest
		ref += "@" + tag
	case tag != "":
		ref += ":" + tag
	}
	var err error
	if o.Platform, err = platform(r.query("platform")); err != nil {
		return err
	}
	if o.Auth, o.Registry, err = r.reach(); err != nil {
		return err
	}
	tell := r.messages()
	return r.lastMessage(tell, s.Images.Pull(r.Context(), ref, o, tell))
}

// named reports whether a name of an image has a tag or a digest.
func named(ref string) bool {
	return strings.Contains(ref, "@") || strings.LastIndexByte(ref, ':') > strings.LastIndexByte(ref, '/')
}

func (s *Server) imageImport(r *request) error {
	if from := r.query("fromSrc"); from != "-" {
		err := errdef.Errorf(errdef.Unsupported, "parameter fromSrc: %.256q: what has neither a digest nor a signature is not fetched", from)
		return errdef.WithHint(err, "fetch and verify it yourself, and send it as the body, with fromSrc=-")
	}
	o := option.Import{Ref: r.query("repo"), Message: r.query("message"), Changes: r.params()["changes"]}
	if tag := r.query("tag"); tag != "" {
		o.Ref += ":" + tag
	}
	var err error
	if o.Platform, err = platform(r.query("platform")); err != nil {
		return err
	}
	tell := r.messages()
	return r.lastMessage(tell, s.Images.Import(r.Context(), r.patient(), o, tell))
}

func (s *Server) imagePush(r *request) error {
	ref, tag := r.value("name"), r.query("tag")
	o := option.Push{All: tag == "" && !named(ref)}
	if tag != "" {
		ref += ":" + tag
	}
	var err error
	if o.Platform, err = platform(r.query("platform")); err != nil {
		return err
	}
	if o.Auth, o.Registry, err = r.reach(); err != nil {
		return err
	}
	tell := r.messages()
	return r.lastMessage(tell, s.Images.Push(r.Context(), ref, o, tell))
}

func (s *Server) imageLoad(r *request) error {
	if len(r.params()["platform"]) > 0 {
		return errdef.WithHint(errdef.Errorf(errdef.Unsupported, "parameter platform: all platforms of an archive are loaded"), "leave it away")
	}
	tell := r.messages()
	return r.lastMessage(tell, s.Images.Load(r.Context(), r.patient(), r.flag("quiet"), tell))
}

func (s *Server) imageSave(r *request) error { return s.save(r, []string{r.value("name")}) }

func (s *Server) imageSaveMany(r *request) error {
	var names []string
	for _, n := range r.params()["names"] {
		names = append(names, strings.Split(n, ",")...)
	}
	if len(names) == 0 {
		return errdef.Errorf(errdef.Invalid, "parameter names: it names no image")
	}
	return s.save(r, names)
}

func (s *Server) save(r *request, names []string) error {
	if len(r.params()["platform"]) > 0 {
		return errdef.WithHint(errdef.Errorf(errdef.Unsupported, "parameter platform: an archive has all platforms that are here"), "pull with the one that is wanted")
	}
	return r.archive(func(w io.Writer) error { return s.Images.Save(r.Context(), names, w) })
}

// imageCheck answers with the report; with progress, with messages, of which the last has the report.
func (s *Server) imageCheck(r *request) error {
	o := option.ImageCheck{Quick: r.flag("quick"), Repair: r.flag("repair")}
	if !r.flag("progress") {
		out, err := s.Images.Check(r.Context(), o, nil)
		if err != nil {
			return err
		}
		return r.json(http.StatusOK, out)
	}
	tell := r.messages()
	out, err := s.Images.Check(r.Context(), o, tell)
	if err != nil {
		return r.lastMessage(tell, err)
	}
	data, err := json.Marshal(out)
	if err != nil {
		return err
	}
	return tell(jsonstream.Message{Aux: (*json.RawMessage)(&data)})
}

func (s *Server) imageMounts(r *request) error {
	out, err := s.Images.Mounts(r.Context())
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, out)
}

func (s *Server) imageMount(r *request) error {
	out, err := s.Images.Mount(r.Context(), r.value("name"))
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, out)
}

func (s *Server) imageUnmount(r *request) error {
	out, err := s.Images.Unmount(r.Context(), r.value("name"))
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, out)
}

func (s *Server) imageNames(r *request) error {
	out, err := s.Images.NameEvents(r.Context(), r.value("name"))
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, out)
}

// imageChanges answers what differs between an image and the one that the parameter to names.
func (s *Server) imageChanges(r *request) error {
	to := r.query("to")
	if to == "" {
		return errdef.Errorf(errdef.Invalid, "parameter to: it names no image")
	}
	out, err := s.Images.Diff(r.Context(), r.value("name"), to)
	if err != nil {
		return err
	}
	return r.json(http.StatusOK, out)
}
