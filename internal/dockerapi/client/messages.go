package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/jsonstream"
)

// maxMessage bounds what one message of a long work may be, in bytes.
const maxMessage = 16 << 20

// Messages sends a request whose answer is a stream of messages, and calls each with every one. An error in the stream ends it, and is returned with its kind and hint.
func (c *Client) Messages(ctx context.Context, q Request, each func(jsonstream.Message) error) error {
	answer, err := c.Stream(ctx, q)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	bounded := &io.LimitedReader{R: answer.Body, N: maxMessage}
	d := json.NewDecoder(bounded)
	for {
		bounded.N = maxMessage
		var m jsonstream.Message
		err := d.Decode(&m)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return c.failed(ctx, err)
		case m.Error != nil:
			return messageError(&m)
		}
		if err := each(m); err != nil {
			return err
		}
	}
}

func messageError(m *jsonstream.Message) error {
	kind := kindOf(m.Error.Code)
	var aux struct{ Kind, Hint string }
	if m.Aux != nil && json.Unmarshal(*m.Aux, &aux) == nil && aux.Kind != "" {
		kind = errdef.ParseKind(aux.Kind)
	}
	err := errdef.Errorf(kind, "%s", m.Error.Message)
	if aux.Hint != "" {
		err = errdef.WithHint(err, aux.Hint)
	}
	return err
}

// errorTrailer is what the server says of an archive that has no end.
const errorTrailer = "Bulkhead-Error"

// Download sends a request whose answer is an archive, and writes it to what open returns, which is called when the server has begun to answer.
func (c *Client) Download(ctx context.Context, q Request, open func() (io.Writer, error)) error {
	answer, err := c.Stream(ctx, q)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	w, err := open()
	if err != nil {
		return err
	}
	to := &target{w: w}
	if _, err := io.Copy(to, answer.Body); err != nil {
		if to.err != nil {
			return errdef.Errorf(errdef.Unavailable, "write the archive: %w", to.err)
		}
		return c.failed(ctx, err)
	}
	text := answer.Trailer.Get(errorTrailer)
	if text == "" {
		return nil
	}
	var failure struct{ Message, Kind, Hint string }
	data, err := base64.StdEncoding.DecodeString(text)
	if err == nil {
		err = json.Unmarshal(data, &failure)
	}
	if err != nil {
		return errdef.Errorf(errdef.Internal, "answer to %s: %w", q.Path, err)
	}
	err = errdef.Errorf(errdef.ParseKind(failure.Kind), "%s", failure.Message)
	if failure.Hint != "" {
		err = errdef.WithHint(err, failure.Hint)
	}
	return err
}

// target remembers that it was the writing that went wrong.
type target struct {
	w   io.Writer
	err error
}

func (t *target) Write(p []byte) (int, error) {
	n, err := t.w.Write(p)
	t.err = err
	return n, err
}

// Headers of what a caller sends along for registries: a credential, and how they are to be reached.
const (
	AuthHeader     = "X-Registry-Auth"
	RegistryHeader = "Bulkhead-Registry"
)

// EncodeHeader writes a value as such headers have it: JSON in base64.
func EncodeHeader(v any) (string, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", errdef.Errorf(errdef.Internal, "header: %w", err)
	}
	return base64.URLEncoding.EncodeToString(data), nil
}
