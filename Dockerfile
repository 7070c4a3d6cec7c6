# The app and the study server, on the CPU:
#
#   docker build -t legan .
#   docker run --rm -p 127.0.0.1:7860:7860 legan
#   docker run --rm -p 127.0.0.1:8000:8000 -v "$PWD/studies:/data" legan \
#     study serve /data/natural --host 0.0.0.0 --public-url https://study.example.org
FROM python:3.12-slim

# PyTorch for the CPU alone; the default one brings the libraries of GPUs.
RUN pip install --no-cache-dir torch --index-url https://download.pytorch.org/whl/cpu

WORKDIR /source
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY src ./src
RUN pip install --no-cache-dir ".[app,study-postgres]" && rm -rf /source

# Nothing runs as root; what the app holds for its visitors goes with the container.
RUN useradd --create-home legan && mkdir /data && chown legan /data
USER legan
WORKDIR /data
EXPOSE 7860 8000
ENTRYPOINT ["legan"]
CMD ["app", "--host", "0.0.0.0"]
