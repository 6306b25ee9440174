/* A program without threads: nothing of the runtime may start. Standard output, exit status and the number of kernel
 * threads are what they are without goshim. */
#include <dirent.h>
#include <stdio.h>

int main(void) {
	DIR *tasks = opendir("/proc/self/task");
	int count = 0;
	for (struct dirent *entry; tasks && (entry = readdir(tasks));)
		count += entry->d_name[0] != '.';
	printf("kernel threads: %d\n", count);
	return 5;
}
