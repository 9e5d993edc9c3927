package cli

import (
	"strings"

	"github.com/spf13/pflag"
)

// signing are flags of Podman's that are about signatures and encryption.
var signing = []string{"signature-policy", "sign-by", "sign-by-sigstore", "sign-passphrase-file", "remove-signatures", "decryption-key", "encryption-key", "encrypt-layer"}

// refuseOthers refuses flags that Podman's users know and that cannot be had, each with its reason.
func refuseOthers(flags *pflag.FlagSet, command string) {
	platform := refusedFlag{reason: "a part of a platform alone may choose another image than is meant", hint: "--platform OS/ARCH[/VARIANT]"}
	signed := refusedFlag{reason: "signatures and encryption of images are not there yet", hint: "leave it away; digests are always verified"}
	packed := refusedFlag{reason: "layers are stored and sent byte for byte as they came, so that their digests stay", hint: "leave it away"}
	retry := refusedFlag{reason: "a broken transfer is resumed, and a registry that asks to wait is waited for, as long as it makes sense", hint: "leave it away"}
	groups := map[string][]struct {
		value refusedFlag
		names string
	}{
		"pull":   {{platform, "arch os variant"}, {signed, strings.Join(signing, " ")}, {retry, "retry retry-delay"}},
		"push":   {{signed, strings.Join(signing, " ")}, {packed, "compression-format compression-level format"}, {retry, "retry retry-delay"}},
		"load":   {{signed, "signature-policy"}},
		"import": {{platform, "arch os variant"}, {signed, "signature-policy"}},
	}
	for _, g := range groups[command] {
		for _, name := range strings.Fields(g.names) {
			refuse(flags, name, "", g.value)
		}
	}
}
