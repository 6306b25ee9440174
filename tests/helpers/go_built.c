/* A program with the note that Go's linker puts into each program, however it is linked and stripped. */
__attribute__((used, section(".note.go.buildid"), aligned(4))) static const unsigned note[] = {4, 4, 4, 0x6f47, 0};

int main(void) {
	return 0;
}
