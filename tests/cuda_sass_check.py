#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Looks at the machine code of the CUDA kernels for what must not be there.

usage: cuda_sass_check.py BUILD_DIRECTORY

Reads the cubins out of the objects of kernels/cuda (uncompressed there) and
counts opcodes, the low 12 bits of each 16-byte instruction. Local memory in any
kernel is a register spill or an array that is indexed at run time; both cost
more than what they hold. A kernel of TENSOR_FILES without the instruction named
there does not use the tensor cores as it is meant to. A kernel without ACQBULK,
or with an access to global memory in front of it, does not wait for the kernel
before it (launch.h); asynchronous copies in front of it are of weights.
mma.sync of e4m3 is emulated on Hopper, by a dozen conversions each. The loop
that reads E2M1 weights of groups of 64 and more for one tile of tokens has
MOST_PER_WEIGHT instructions of a thread for a weight. Dynamic shared memory of
kernels with wgmma is aligned as its descriptors say. Prints every broken rule
and exits 1 if there was one.
"""

import pathlib
import re
import struct
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
CUDA_MACHINE = 190
LOCAL_LOAD, LOCAL_STORE = 0x983, 0x387  # LDL, STL
WAIT = 0x82e  # ACQBULK, griddepcontrol.wait
# LDG, LD, STG, ST, ATOMG, RED
GLOBAL_ACCESSES = {0x981, 0x980, 0x986, 0x985, 0x9a8, 0x98e}
# Sources whose kernels have to use the tensor cores, and by what.
HMMA = ("HMMA", 0x23c)
QGMMA = ("QGMMA", 0xdf3)
TENSOR_FILES = {"attention_tensor_bf16.cu": HMMA,
                "attention_tensor_e4m3.cu": HMMA,
                "matmul_a8.cu": HMMA,
                "matmul_wgmma.cu": QGMMA}

# At the memory's full rate a multiprocessor can issue 3.9 for every weight that
# arrives. Those of group ends and of unaligned tokens, which are not always
# executed, are counted, too.
BUDGETED = re.compile(r"HmmaTileILNS1_10CodeFormatE0ELNS1_11ScaleFormatE\dELb0ELi1E")
MOST_PER_WEIGHT = 3.0
WEIGHTS_PER_HMMA = 16 * 16
BRANCH = 0x947  # BRA
# What the descriptors of wgmma take for granted of its operands' addresses.
SWIZZLE_ALIGNMENT = 1024

problems = []


def cubins(data):
    """The device's ELF images that an object of the host holds."""
    at = data.find(b"\x7fELF", 1)
    while at >= 0:
        if struct.unpack_from("<H", data, at + 18)[0] == CUDA_MACHINE:
            yield data[at:]
        at = data.find(b"\x7fELF", at + 1)


def sections(image):
    """(name, offset, bytes, alignment) of every section of one image."""
    table_at, = struct.unpack_from("<Q", image, 40)
    entry_bytes, count, names_index = struct.unpack_from("<HHH", image, 58)

    def section(index):
        fields = struct.unpack_from("<IIQQQQIIQ", image,
                                    table_at + index * entry_bytes)
        return fields[0], fields[4], fields[5], fields[8]

    names_at = section(names_index)[1]
    for index in range(count):
        name, *rest = section(index)
        end = image.index(b"\0", names_at + name)
        yield image[names_at + name:end].decode(), *rest


def kernels(image):
    """(name, instructions) of every function of one image."""
    for name, offset, num_bytes, _ in sections(image):
        if name.startswith(".text."):
            yield name[6:], list(struct.iter_unpack(
                "<QQ", image[offset:offset + num_bytes]))


def misplaced_dynamic_shared(image):
    """Kernels whose dynamic shared memory may begin elsewhere than at a
    multiple of SWIZZLE_ALIGNMENT: behind what they have of the other kind."""
    for name, _, num_bytes, alignment in sections(image):
        if name.startswith(".nv.shared.") and (
                alignment < SWIZZLE_ALIGNMENT or num_bytes % SWIZZLE_ALIGNMENT):
            yield name[11:]


def loop_per_weight(instructions):
    """Instructions for a weight of the shortest loop with an HMMA in it."""
    opcodes = [low & 0xfff for low, _ in instructions]
    loops = []
    for at, (low, high) in enumerate(instructions):
        # Words of 4 bytes from the next instruction on, as found in cuobjdump's
        # listings: 8 bits at 16, 48 more at 34, with a sign.
        distance = (low >> 16 & 0xff | low >> 34 << 8 |
                    (high & 0x3ffff) << 38) - (high >> 17 & 1) * (1 << 56)
        if opcodes[at] == BRANCH and distance < 0:
            begin = at + 1 + distance // 4
            num_products = opcodes[max(begin, 0):at + 1].count(HMMA[1])
            if num_products:
                loops.append((at + 1 - begin, num_products))
    if not loops:
        return None
    length, num_products = min(loops)
    return length * 32 / (num_products * WEIGHTS_PER_HMMA)


def check_object(path):
    source = path.name.removesuffix(".o")
    num_kernels = 0
    tensor_name, tensor_opcode = TENSOR_FILES.get(source, (None, None))
    for image in cubins(path.read_bytes()):
        misplaced = set(misplaced_dynamic_shared(image))
        for name, instructions in kernels(image):
            num_kernels += 1
            opcodes = [low & 0xfff for low, _ in instructions]
            if BUDGETED.search(name):
                per_weight = loop_per_weight(instructions)
                if per_weight is None or per_weight > MOST_PER_WEIGHT:
                    problems.append(f"{source}: {name}: the loop takes "
                                    f"{per_weight} instructions a weight")
            local = opcodes.count(LOCAL_LOAD) + opcodes.count(LOCAL_STORE)
            if local:
                problems.append(f"{source}: {name}: {local} instructions on "
                                "local memory")
            if QGMMA[1] in opcodes and name in misplaced:
                problems.append(f"{source}: {name}: dynamic shared memory not "
                                f"at {SWIZZLE_ALIGNMENT} bytes")
            if tensor_name and tensor_opcode not in opcodes:
                problems.append(f"{source}: {name}: no {tensor_name}")
            before = opcodes[:opcodes.index(WAIT)] if WAIT in opcodes else []
            if WAIT not in opcodes:
                problems.append(f"{source}: {name}: no ACQBULK")
            elif GLOBAL_ACCESSES.intersection(before):
                problems.append(f"{source}: {name}: global memory is accessed "
                                "before ACQBULK")
    return num_kernels


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__.splitlines()[2])
    folder = pathlib.Path(sys.argv[1]) / "kernels" / "cuda"
    objects = sorted(folder.glob("CMakeFiles/zqfp_cuda.dir/*.cu.o"))
    num_kernels = sum(check_object(path) for path in objects)
    if num_kernels == 0:
        problems.append(f"{folder}: no kernel found")
    for path in sorted((ROOT / "kernels" / "cuda").iterdir()):
        if path.suffix in (".h", ".cuh", ".cu") and re.search(
                r"mma\.sync[^;]*e4m3", path.read_text(encoding="utf-8")):
            problems.append(f"{path.name}: mma.sync of e4m3")
    for line in problems:
        print(line, file=sys.stderr)
    print(f"sass: {num_kernels} kernels of {len(objects)} files, "
          f"{len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
