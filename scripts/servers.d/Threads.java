/* What a Java machine asks of its threads: pools, monitors, garbage collection that stops all of them, stack overflows and null pointers
 * that it tells by signals and guard pages of its own on the threads' stacks. */
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;

public class Threads {
	static final int THREADS = 200, JOBS = 20000;

	static int deep(int n) {
		return deep(n + 1) + 1;
	}

	public static void main(String[] arguments) throws Exception {
		ExecutorService pool = Executors.newFixedThreadPool(THREADS);
		AtomicLong sum = new AtomicLong();
		CountDownLatch done = new CountDownLatch(JOBS);
		for (int i = 0; i < JOBS; i++) {
			final int job = i;
			pool.submit(() -> {
				byte[] garbage = new byte[20000];
				long x = 0;
				for (int j = 0; j < 2000; j++)
					x += (long) j * job % 7 + garbage[j];
				sum.addAndGet(x);
				done.countDown();
			});
		}
		done.await();
		pool.shutdown();
		System.out.println("sum " + sum.get());

		AtomicInteger overflows = new AtomicInteger(), nulls = new AtomicInteger();
		Object monitor = new Object();
		Thread[] threads = new Thread[100];
		for (int i = 0; i < threads.length; i++) {
			threads[i] = new Thread(() -> {
				try {
					deep(0);
				} catch (StackOverflowError e) {
					overflows.incrementAndGet();
				}
				try {
					Object none = nulls.get() < 0 ? monitor : null;
					none.hashCode();
				} catch (NullPointerException e) {
					synchronized (monitor) {
						nulls.incrementAndGet();
					}
				}
			});
			threads[i].start();
		}
		for (Thread thread : threads)
			thread.join();
		System.gc();
		System.out.println("overflows " + overflows + ", null pointers " + nulls);
	}
}
