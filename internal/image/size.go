package image

import "github.com/bulkhead-engine/bulkhead/internal/image/manifest"

// LayerSizes are what the unpacked layers of an image hold, in bytes, the lowest first; of a layer that is not unpacked, what its archive has.
func (s *Service) LayerSizes(img *Image) []int64 {
	out := make([]int64, len(img.Layers))
	for i, chain := range manifest.ChainIDs(img.Config.RootFS.DiffIDs) {
		if info, err := s.snaps.Info(chain); err == nil {
			out[i] = info.Bytes
		} else {
			out[i] = img.Layers[i].Size
		}
	}
	return out
}
