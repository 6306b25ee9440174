/*
 * Loops, critical sections, barriers and tasks of OpenMP, with more threads than there are processors.
 */
#include <omp.h>
#include <stdio.h>

int main(void) {
	long sum = 0;
	for (int round = 0; round < 300; round++) {
#pragma omp parallel for reduction(+ : sum) schedule(dynamic, 100)
		for (int i = 0; i < 100000; i++)
			sum += i * (long)round % 13;
#pragma omp parallel num_threads(16)
		{
#pragma omp barrier
#pragma omp critical
			sum++;
#pragma omp barrier
#pragma omp single
			for (int i = 0; i < 8; i++)
#pragma omp task
			{
#pragma omp atomic
				sum += i;
			}
		}
	}
	printf("sum %ld\n", sum);
	return 0;
}
