package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// completeImages completes names of images.
func (p *program) completeImages(_ *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	s, err := p.images(nil)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	images, err := s.List()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var out []string
	for _, img := range images {
		for _, tag := range img.RepoTags() {
			if strings.HasPrefix(tag, begin) && !slices.Contains(args, tag) {
				out = append(out, tag)
			}
		}
	}
	slices.Sort(out)
	return out, cobra.ShellCompDirectiveNoFileComp
}
