// Package assemble makes a container's config.json out of what was asked for: the request in the types of Docker's API, the image's configuration, the secure
// default, and facts of the host.
//
//	config := assemble.Merge(request.Config, image)                    // the image's command, environment ... where the request has none
//	points, err := assemble.Points(config, hostConfig)                 // what is mounted; the engine makes the volumes
//	result, err := assemble.Spec(&assemble.Request{Config: config, HostConfig: hostConfig, Points: points, ...})
//	result.Spec                                                        // for the runtime
//	result.Weaker                                                      // what holds less than the default, by which flag, and why that matters
//
// It is a compiler: nothing is made and nothing is looked up but through the facts of the Request, so that a test gives it any host. The engine, `explain` and a policy that
// judges a request before anything exists use the same function.
//
// Every flag of `docker run` for security has its place here, with Docker's and Podman's grammar of values. What a flag asks for and this engine or host cannot do is refused by
// the flag's name, with the reason; no field is passed over. --level and --allow, which Docker's API has no fields for, are values of SecurityOpt: level=LEVEL, allow=GROUP.
//
// Errors are of kind Invalid or Unsupported, name the flag, and have a hint where there is a way out.
package assemble
