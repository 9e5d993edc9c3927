package cli

import (
	"context"
	"io"
	"net"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/spf13/cobra"
)

// dialStdioCommand is what another machine's -H ssh:// starts here: the Engine API on standard input and output.
func dialStdioCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use: "dial-stdio [OPTIONS]", Short: "Speak the Engine API on standard input and output", Args: count(0, 0), Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := p.engine(); err != nil {
				return err
			}
			conn, err := p.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer conn.Close()
			return p.relay(cmd.Context(), conn)
		},
	}
}

// relay carries both directions until the engine's ends.
func (p *program) relay(ctx context.Context, conn net.Conn) error {
	go func() {
		_, _ = io.Copy(conn, p.in) // what is wrong is seen by who answers
		if c, ok := conn.(interface{ CloseWrite() error }); ok {
			_ = c.CloseWrite()
		}
	}()
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(p.out, conn)
		ended <- err
	}()
	select {
	case err := <-ended:
		if err != nil {
			return errdef.Errorf(errdef.Unavailable, "dial-stdio: %w", err)
		}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
