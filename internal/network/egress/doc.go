// Package egress holds a container's resolver to what the container may reach (package policy has the words for that), and opens what names turn out to be.
//
//	g := egress.New(own, log)                                            // in the monitor; g is what the resolver asks
//	g.Set(ends)                                                          // the ends of networks that the container has now
//
// A name is a promise about answers of our resolver: an address that the name was not given by it is not open. Names that the policy does not name are not even asked for, so that names
// carry nothing out. Addresses of the neighbours on a network are not egress.
package egress
