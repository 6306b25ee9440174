// What scripts/bench --go measures of Go: the same as gobench.c, line by line.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func cpuNow() int64 {
	var u syscall.Rusage
	syscall.Getrusage(0, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}

func pingpong(n int64) int64 {
	a, b := make(chan int64), make(chan int64)
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		for x := range a {
			b <- x
		}
		wg.Done()
	}()
	for i := int64(0); i < n; i++ {
		a <- i
		<-b
	}
	close(a)
	wg.Wait()
	return n
}

func buffered(n int64) int64 {
	c := make(chan int64, 100)
	go func() {
		for i := int64(0); i < n; i++ {
			c <- i
		}
		close(c)
	}()
	sum := int64(0)
	for x := range c {
		sum += x
	}
	if sum != n*(n-1)/2 {
		return 0
	}
	return n
}

func select4(n int64) int64 {
	var c [4]chan int64
	for i := range c {
		c[i] = make(chan int64)
		go func(c chan int64) { // a plain send, as in gobench.c; closing would make it panic, so it stays where it is at the end
			for x := int64(0); ; x++ {
				c <- x
			}
		}(c[i])
	}
	for i := int64(0); i < n; i++ {
		select {
		case <-c[0]:
		case <-c[1]:
		case <-c[2]:
		case <-c[3]:
		}
	}
	return n
}

func spawn(int64) int64 {
	var wg sync.WaitGroup
	for i := 0; i < 100000; i++ {
		wg.Add(1)
		go func() { wg.Done() }()
	}
	wg.Wait()
	return 100000
}

func skynetNode(out chan int64, number, size int64) {
	if size == 1 {
		out <- number
		return
	}
	c := make(chan int64)
	for i := int64(0); i < 10; i++ {
		go skynetNode(c, number+i*(size/10), size/10)
	}
	sum := int64(0)
	for i := 0; i < 10; i++ {
		sum += <-c
	}
	out <- sum
}

func skynet(int64) int64 {
	c := make(chan int64)
	go skynetNode(c, 0, 1000000)
	if <-c != 499999500000 {
		return 0
	}
	return 1111111
}

func memoryKiB() (sum int64) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		words := strings.Fields(s.Text())
		if len(words) > 1 && (words[0] == "VmRSS:" || words[0] == "VmPTE:") {
			kib, _ := strconv.ParseInt(words[1], 10, 64)
			sum += kib
		}
	}
	return sum
}

func park(n int64) {
	gate := make(chan struct{})
	var parked int64
	var wg sync.WaitGroup
	before := memoryKiB()
	cpu, wall := cpuNow(), time.Now()
	for i := int64(0); i < n; i++ {
		wg.Add(1)
		go func() {
			atomic.AddInt64(&parked, 1)
			<-gate
			wg.Done()
		}()
	}
	for atomic.LoadInt64(&parked) < n {
		runtime.Gosched()
	}
	bytes := (memoryKiB() - before) * 1024 / n
	close(gate)
	wg.Wait()
	fmt.Printf("park %d %.1f %.1f %d\n", n, float64(cpuNow()-cpu)/float64(n), float64(time.Since(wall))/float64(n), bytes)
}

func measure(name string, run func(int64) int64, batch int64, seconds float64) {
	warm := batch
	if warm > 1000 {
		warm = 1000
	}
	run(warm)
	ops := int64(0)
	cpu, wall := cpuNow(), time.Now()
	for {
		done := run(batch)
		if done == 0 {
			fmt.Fprintf(os.Stderr, "%s: wrong result\n", name)
			os.Exit(1)
		}
		ops += done
		if time.Since(wall).Seconds() >= seconds {
			break
		}
	}
	fmt.Printf("%s %d %.1f %.1f\n", name, ops, float64(cpuNow()-cpu)/float64(ops), float64(time.Since(wall))/float64(ops))
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: gobench FIGURE SECONDS | park GOROUTINES")
		os.Exit(2)
	}
	n, _ := strconv.ParseFloat(os.Args[2], 64)
	switch os.Args[1] {
	case "pingpong":
		measure("pingpong", pingpong, 100000, n)
	case "buffered":
		measure("buffered", buffered, 1000000, n)
	case "select4":
		measure("select4", select4, 100000, n)
	case "spawn":
		measure("spawn", spawn, 1, n)
	case "skynet":
		measure("skynet", skynet, 1, n)
	case "park":
		park(int64(n))
	default:
		os.Exit(2)
	}
}
