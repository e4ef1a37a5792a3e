# Retort in a container, for processors unless an argument says otherwise.
#
#   docker build -t retort .
#   docker run --rm -v "$PWD:/work" --user "$(id -u):$(id -g)" retort run quickstart
#   docker run --rm retort doctor             # which level of the sandbox the container reaches
#
# For GPUs an argument names where torch comes from; its wheels bring CUDA's libraries along, so that the machine needs
# NVIDIA's driver and container toolkit alone:
#
#   docker build -t retort-cuda --build-arg TORCH_INDEX=ADDRESS .     # PyTorch's own index for your version of CUDA
#   docker run --rm --gpus all -v "$PWD:/work" --user "$(id -u):$(id -g)" retort-cuda plan qwen3-30b-a3b --on this
#
# Without TORCH_INDEX torch is what pip's index has. On x86-64 that runs on processors, and holds CUDA's libraries, too,
# which take gigabytes: PyTorch's own index for processors has it without them. BASE is an image with Python 3.11 or
# later and its venv; one that has CUDA's compilers is needed only for packages that compile kernels of their own.
#
# Model-written code runs in the sandbox of SECURITY.md inside the container. What a container engine takes away counts:
# Docker's own profile refuses new namespaces to a user who is not root, which L4 needs, and lets seccomp (L2) and, where
# the kernel has it, Landlock (L3) through. `sandbox_at_least` in a recipe refuses to run below a level.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG TORCH_INDEX=""
WORKDIR /build
RUN python3 -m venv /opt/retort
COPY constraints.txt ./
# First and alone: it is the bulk, and this layer stays when the sources change.
RUN /opt/retort/bin/pip install --no-cache-dir -c constraints.txt ${TORCH_INDEX:+--index-url "${TORCH_INDEX}"} torch
COPY . ./
RUN /opt/retort/bin/pip install --no-cache-dir -c constraints.txt .

FROM ${BASE}
COPY --from=build /opt/retort /opt/retort
# HOME is the folder that is mounted, so that what a person trusts and what comes from the hub are kept with the runs,
# and any --user may write there.
ENV PATH=/opt/retort/bin:${PATH} HOME=/work PYTHONUNBUFFERED=1
RUN useradd --uid 10001 --home-dir /work --create-home retort
USER 10001
WORKDIR /work
ENTRYPOINT ["retort"]
CMD ["--help"]
