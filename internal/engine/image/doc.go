// Package image is the service for images in the types of Docker's API: what the routes below /images, /distribution and /auth ask for.
//
//	s := image.New(image.Options{Open: open, Events: log})
//	list, err := s.List(ctx, option.Filters{"dangling": {"true"}}, false)
//	err = s.Pull(ctx, "alpine:3", option.Pull{Auth: auth}, tell)
//	err = s.Save(ctx, []string{"alpine:3"}, w)
//
// It adds to package internal/image what an API has and a library has not: Docker's types, filters, words of progress and results, the events, and credentials that come with
// the call. The images are opened by the first call that wants them.
//
// Credentials. The service reads no file of a user's: a call brings what it may use, for the registry of the image (Auth), or for mirrors by their host
// (Registry.Auths). A call without is anonymous. The same holds for trust: what the configuration of the engine does not say, a call says by name (Registry), and it is
// true for this call alone.
//
// Names. What has no name in an archive gets one of a digest from the library, so that it is no garbage; here it is shown as an image without names, as Docker does.
package image

import (
	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/event"
	images "github.com/bulkhead-engine/bulkhead/internal/image"
	"github.com/moby/moby/api/types/events"
)

// Options say where images are.
type Options struct {
	Open     func() (*images.Service, error) // called by every call that wants them
	Events   *event.Log                      // nil: nobody is told
	Registry option.Registry                 // how registries are reached, whoever calls
	Warn     func(error)
}

// A Service is one.
type Service struct{ o Options }

// New makes a service. Nothing is opened yet.
func New(o Options) *Service { return &Service{o} }

// event tells what happened to an image. That nobody can be told ends nothing.
func (s *Service) event(action events.Action, id, name string, labels map[string]string) {
	if s.o.Events == nil {
		return
	}
	attributes := map[string]string{"name": name}
	for k, v := range labels {
		if k != "name" {
			attributes[k] = v
		}
	}
	if err := s.o.Events.Append(event.New(events.ImageEventType, action, id, attributes)); err != nil && s.o.Warn != nil {
		s.o.Warn(err)
	}
}
