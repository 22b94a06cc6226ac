// Package edge serves clients: it decides who is asking, what is permitted and which way is best,
// forwards the request, and streams the answer back. pipeline.go shows the whole walk.
package edge
