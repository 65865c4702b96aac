#include "pool.hpp"

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <fstream>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#if defined(_WIN32)
#define NOMINMAX
#include <windows.h>

#include <vector>
#else
#include <pthread.h>
#endif
#if defined(__linux__)
#include <sched.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace faceflow {
namespace {

struct Call {
  const std::function<void(int)>* task;
  int left;
  std::exception_ptr error;
};

class Pool {
 public:
  void run(int parts, const std::function<void(int)>& task) {
    Call call{&task, parts - 1, nullptr};
    {
      const std::lock_guard<std::mutex> hold(mutex_);
      for (; threads_ < parts - 1; ++threads_) std::thread([this] { work(); }).detach();
      for (int part = 1; part < parts; ++part) queue_.push_back({&call, part});
    }
    wake_.notify_all();
    std::exception_ptr own;
    try {
      task(0);
    } catch (...) {
      own = std::current_exception();
    }
    std::unique_lock<std::mutex> hold(mutex_);
    done_.wait(hold, [&call] { return call.left == 0; });
    if (!own) own = call.error;
    hold.unlock();
    if (own) std::rethrow_exception(own);
  }

 private:
  struct Item {
    Call* call;
    int part;
  };

  void work() {
    std::unique_lock<std::mutex> hold(mutex_);
    for (;;) {
      wake_.wait(hold, [this] { return !queue_.empty(); });
      const Item item = queue_.front();
      queue_.pop_front();
      hold.unlock();
      std::exception_ptr error;
      try {
        (*item.call->task)(item.part);
      } catch (...) {
        error = std::current_exception();
      }
      hold.lock();
      if (error && !item.call->error) item.call->error = error;
      if (--item.call->left == 0) done_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::deque<Item> queue_;
  int threads_ = 0;
};

// Never destroyed: its threads may outlive static destruction. A forked child has none of the
// threads and perhaps a locked mutex, so it starts with a new pool.
Pool* pool = nullptr;
std::once_flag* started = new std::once_flag;

Pool& the_pool() {
  std::call_once(*started, [] {
    pool = new Pool;
#if !defined(_WIN32)
    static const int registered = pthread_atfork(nullptr, nullptr, [] {
      started = new std::once_flag;
      pool = nullptr;
    });
    static_cast<void>(registered);
#endif
  });
  return *pool;
}

}  // namespace

void run_parts(int parts, const std::function<void(int)>& task) {
  if (parts <= 1) {
    task(0);
  } else {
    the_pool().run(parts, task);
  }
}

unsigned char* thread_scratch(std::size_t bytes) {
  thread_local std::unique_ptr<unsigned char[]> memory;
  thread_local std::size_t size = 0;
  if (size < bytes + 64) {
    memory.reset();
    size = 0;
    memory.reset(new unsigned char[bytes + 64]);
    size = bytes + 64;
  }
  const std::uintptr_t at = reinterpret_cast<std::uintptr_t>(memory.get());
  return memory.get() + (64 - at % 64) % 64;
}

int physical_cores() {
  static const int cores = [] {
    int count = 0;
#if defined(__linux__)
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) {
      // Hyper-threads of one core name the same siblings; an unreadable file counts by itself.
      std::set<std::string> seen;
      for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (!CPU_ISSET(cpu, &allowed)) continue;
        std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) +
                           "/topology/thread_siblings_list");
        std::string siblings;
        if (!std::getline(file, siblings)) siblings = "cpu" + std::to_string(cpu);
        seen.insert(siblings);
      }
      count = static_cast<int>(seen.size());
    }
#elif defined(__APPLE__)
    std::size_t size = sizeof count;
    if (sysctlbyname("hw.physicalcpu", &count, &size, nullptr, 0) != 0) count = 0;
#elif defined(_WIN32)
    DWORD bytes = 0;
    GetLogicalProcessorInformation(nullptr, &bytes);
    std::vector<SYSTEM_LOGICAL_PROCESSOR_INFORMATION> entries(
        bytes / sizeof(SYSTEM_LOGICAL_PROCESSOR_INFORMATION));
    if (!entries.empty() && GetLogicalProcessorInformation(entries.data(), &bytes)) {
      for (const auto& entry : entries) count += entry.Relationship == RelationProcessorCore;
    }
#endif
    if (count < 1) count = static_cast<int>(std::thread::hardware_concurrency());
    return count < 1 ? 1 : count;
  }();
  return cores;
}

}  // namespace faceflow
