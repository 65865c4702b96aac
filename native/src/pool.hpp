// A few threads that wait for work: started at first use, asleep between calls.
#pragma once

#include <functional>

namespace faceflow {

int physical_cores();  // that this process may run on

// Run task(0) .. task(parts - 1); task(0) in the calling thread. Rethrows the first exception.
void run_parts(int parts, const std::function<void(int)>& task);

// Scratch memory of the calling thread, kept for its next call; 64-byte aligned.
unsigned char* thread_scratch(std::size_t bytes);

}  // namespace faceflow
