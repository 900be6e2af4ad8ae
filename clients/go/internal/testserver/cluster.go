package testserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// Cluster is one of scripts/cluster.sh: three primaries and a replica of each.
type Cluster struct {
	Addresses []string
	folder    string
}

// StartCluster runs a cluster on free ports of 127.0.0.1.
func StartCluster() (*Cluster, error) {
	folder, err := os.MkdirTemp("", "dirty-go-cluster-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{folder: folder}
	nodes, err := c.script("start")
	if err != nil {
		c.Stop()
		return nil, err
	}
	for _, node := range strings.Split(strings.TrimSpace(nodes), "\n") {
		c.Addresses = append(c.Addresses, "127.0.0.1:"+strings.Fields(node)[0])
	}
	return c, nil
}

func (c *Cluster) script(action string) (string, error) {
	_, here, _, _ := runtime.Caller(0)
	command := exec.Command(filepath.Join(filepath.Dir(here), "../../../../scripts/cluster.sh"), action, c.folder)
	command.Env = append(os.Environ(), "CLUSTER_TIMEOUT=1500", "DIRTY_MODULE="+module())
	out, err := command.Output()
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) {
		err = fmt.Errorf("%w: %s", err, failed.Stderr)
	}
	return string(out), err
}

// KillPrimary is kill -9 of a primary.
func (c *Cluster) KillPrimary() error {
	nodes, err := c.script("nodes")
	if err != nil {
		return err
	}
	for _, node := range strings.Split(nodes, "\n") {
		words := strings.Fields(node)
		if len(words) > 2 && words[2] == "primary" {
			pid, err := strconv.Atoi(words[1])
			if err != nil {
				return err
			}
			return syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	return errors.New("there is no primary")
}

// Reshard moves the lowest slots of the second primary to the first one.
func (c *Cluster) Reshard(slots int) error {
	var ids [2]string
	for i := range ids {
		id, err := Doer(c.Addresses[i]).Do(context.Background(), "CLUSTER", "MYID")
		if err != nil {
			return err
		}
		ids[i] = fmt.Sprint(id)
	}
	out, err := exec.Command("redis-cli", "--cluster", "reshard", c.Addresses[0], "--cluster-from", ids[1], "--cluster-to", ids[0],
		"--cluster-slots", strconv.Itoa(slots), "--cluster-yes", "--cluster-pipeline", "100").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// Stop ends all nodes.
func (c *Cluster) Stop() {
	if _, err := c.script("stop"); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.RemoveAll(c.folder)
}
