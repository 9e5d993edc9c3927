package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// completeImages completes names of images.
func (p *program) completeImages(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	images, err := p.listImages(cmd.Context(), &filters{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var out []string
	for i := range images {
		for _, tag := range images[i].RepoTags {
			if strings.HasPrefix(tag, begin) && !slices.Contains(args, tag) {
				out = append(out, tag)
			}
		}
	}
	slices.Sort(out)
	return out, cobra.ShellCompDirectiveNoFileComp
}
