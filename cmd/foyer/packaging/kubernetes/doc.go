// Package kubernetes holds the manifests for Kubernetes, and a test of them. It is a module of its own, so that foyer's has
// nothing of Kubernetes.
package kubernetes
