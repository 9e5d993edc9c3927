// Package volume keeps directories that outlive containers: named volumes, and those without a name, which belong to the container that wanted them.
//
//	s := volume.New(volume.Options{Root: "/var/lib/bulkhead/volumes", Users: users})
//	v, err := s.Create(ctx, api.CreateRequest{Name: "data", Labels: labels})
//	claim, err := s.Take(ctx, request) // for a container that is being made: the volume is made if it is not there, and stays until claim.Close
//	err = s.Ready(ctx, "data", from, "/var/lib/db")  // before a start: mounted if it is to be, and filled from the image if it is new
//	err = s.Remove(ctx, "data", false)               // Conflict while a container has it
//
// A volume is a directory below Root: volume.json says what it is, _data holds its files. It is made under a name that no volume has, and renamed when it is whole; it is renamed back
// before it is removed. So a volume is there whole or not at all, and what a killed command left is removed by the next one that makes or removes a volume.
//
// Ids. Files in _data belong to the ids that containers see: root's to 0. Each container has a range of its own, and sees the volume through an idmapped mount, so that two
// containers can share one. _data lies in directories that nobody but root can pass: a set-user-ID file that a container makes is out of reach of the host's users.
//
// First use. A new volume is filled, when the first container with it starts, with what the image has at that place, owner and mode of the directory included, as Docker does; a
// start that was cut off in the middle of this fills again. A volume that has files of its own is left as it is.
//
// Options of the driver local. type=none,o=bind,device=/PATH shows a directory of the host: it is mounted by nobody, containers get it itself. type=tmpfs is mounted when a container
// starts that has it, and stays until the volume is removed or the machine restarts. What else Docker's driver would mount (nfs, cifs, disks) is refused: containers see
// volumes through idmapped mounts, which network file systems have not, and disks are mounted by who administers the machine.
package volume
