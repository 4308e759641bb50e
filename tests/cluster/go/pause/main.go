// Package main is the container that holds a pod's namespaces open: it reaps nothing, does nothing, and ends when told.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGINT, syscall.SIGTERM)
	<-told
}
