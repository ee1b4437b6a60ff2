// SPDX-License-Identifier: Apache-2.0
#include "tests/cuda_emulator/shared_memory.h"

#include <cxxabi.h>
#include <elf.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <fstream>
#include <iterator>
#include <vector>

#include "tests/cuda_emulator/emulator.h"

// A thread-local variable whose place in the program's thread-local block is
// looked up to find all the others.
extern "C" {
thread_local char zqfp_emulator_thread_local_anchor = 1;
}

namespace zqfp::kernels::emulator {
namespace {

constexpr int64_t kPage = 4096;
constexpr int64_t kDynamicBytes = 228 * 1024;  // more than any launch may have
constexpr uint8_t kPoison = 0xff;
constexpr uint8_t kSlack = 0xa5;

struct Range {
  int64_t begin;
  int64_t num_bytes;
};
struct Function {
  uint64_t address;  // as linked
  std::string name;
};

// What the symbol table of this program says. The compiler gives no other way
// to find variables of function templates: it ignores their section attribute.
struct Symbols {
  std::vector<Range> shared;  // relative to the anchor
  std::vector<Function> functions;
};

std::string Demangled(const char* name) {
  int status = 0;
  char* text = abi::__cxa_demangle(name, nullptr, nullptr, &status);
  const std::string result = status == 0 ? text : name;
  free(text);
  return result;
}

// Those of namespace cuda_emulated; one that is local to a function and
// thread-local can only be `__shared__`.
Symbols ReadSymbols() {
  std::ifstream file("/proc/self/exe", std::ios::binary);
  const std::vector<char> image{std::istreambuf_iterator<char>(file), {}};
  const auto* header = reinterpret_cast<const Elf64_Ehdr*>(image.data());
  const auto* sections =
      reinterpret_cast<const Elf64_Shdr*>(image.data() + header->e_shoff);
  Symbols result;
  int64_t anchor = -1;
  for (int s = 0; s < header->e_shnum; ++s) {
    if (sections[s].sh_type != SHT_SYMTAB) continue;
    const char* names = image.data() + sections[sections[s].sh_link].sh_offset;
    const auto* symbols = reinterpret_cast<const Elf64_Sym*>(
        image.data() + sections[s].sh_offset);
    for (uint64_t i = 0; i < sections[s].sh_size / sizeof(Elf64_Sym); ++i) {
      const Elf64_Sym& symbol = symbols[i];
      const char* name = names + symbol.st_name;
      const int type = ELF64_ST_TYPE(symbol.st_info);
      const bool ours = strstr(name, "13cuda_emulated") != nullptr;
      if (type == STT_TLS && ours && strncmp(name, "_ZZ", 3) == 0) {
        result.shared.push_back({static_cast<int64_t>(symbol.st_value),
                                 static_cast<int64_t>(symbol.st_size)});
      } else if (type == STT_FUNC && ours && symbol.st_value != 0) {
        result.functions.push_back({symbol.st_value, name});
      } else if (strcmp(name, "zqfp_emulator_thread_local_anchor") == 0) {
        anchor = static_cast<int64_t>(symbol.st_value);
      }
    }
  }
  if (anchor < 0) Die("this program's symbol table is stripped");
  for (Range& range : result.shared) range.begin -= anchor;
  return result;
}

const Symbols& ProgramSymbols() {
  static const Symbols& symbols = *new Symbols(ReadSymbols());
  return symbols;
}

// Where the page begins that no thread may touch.
uint8_t* DynamicEnd() {
  static uint8_t* const end = [] {
    void* memory = mmap(nullptr, kDynamicBytes + kPage, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t* guard = static_cast<uint8_t*>(memory) + kDynamicBytes;
    if (memory == MAP_FAILED || mprotect(guard, kPage, PROT_NONE) != 0) {
      Die("no memory for shared memory");
    }
    return guard;
  }();
  return end;
}

int64_t RoundedUp(int64_t num_bytes) {
  return (num_bytes + 1023) / 1024 * 1024;
}

uint8_t* dynamic_begin = nullptr;

}  // namespace

uint8_t* DynamicShared() { return dynamic_begin; }

void PoisonStaticShared() {
  char* anchor = &zqfp_emulator_thread_local_anchor;
  for (const Range& range : ProgramSymbols().shared) {
    memset(anchor + range.begin, kPoison, static_cast<size_t>(range.num_bytes));
  }
}

void PoisonDynamicShared(int64_t num_bytes) {
  dynamic_begin = DynamicEnd() - RoundedUp(num_bytes);
  memset(dynamic_begin, kPoison, static_cast<size_t>(num_bytes));
  memset(dynamic_begin + num_bytes, kSlack,
         static_cast<size_t>(RoundedUp(num_bytes) - num_bytes));
}

bool DynamicSharedIsWhole(int64_t num_bytes) {
  for (const uint8_t* at = dynamic_begin + num_bytes; at != DynamicEnd();
       ++at) {
    if (*at != kSlack) return false;
  }
  return true;
}

std::string KernelName(const void* kernel) {
  // How far from its linked address the program was loaded: its first object.
  uint64_t base = 0;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* result) {
        *static_cast<uint64_t*>(result) = info->dlpi_addr;
        return 1;
      },
      &base);
  for (const Function& function : ProgramSymbols().functions) {
    if (function.address + base == reinterpret_cast<uint64_t>(kernel)) {
      return Demangled(function.name.c_str());
    }
  }
  return "a kernel without a name";
}

}  // namespace zqfp::kernels::emulator
