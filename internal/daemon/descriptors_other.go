//go:build !unix

package daemon

func descriptors() int { return otherDescriptors }
