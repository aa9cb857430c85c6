// Standard input over SRT (file mode: a byte stream) to standard output, so that QEMU can migrate over it: see README.md.
//   srt-pipe recv PORT          srt-pipe send ADDRESS PORT     (the sender's own count goes to the file $SRT_PIPE_STATS)
// Build: g++ -O1 -o srt-pipe srt-pipe.cpp -lsrt   (Debian: libsrt-openssl-dev)
#include <arpa/inet.h>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <srt/srt.h>
#include <unistd.h>
#include <vector>

static std::vector<char> buffer(65536);

static SRTSOCKET byteStream() {
  SRTSOCKET socket = srt_create_socket();
  const SRT_TRANSTYPE mode = SRTT_FILE;
  const int sendBytes = 262144; // small: what waits here is not on the wire, and QEMU believes it sent
  srt_setsockflag(socket, SRTO_TRANSTYPE, &mode, sizeof mode);
  srt_setsockflag(socket, SRTO_SNDBUF, &sendBytes, sizeof sendBytes);
  return socket;
}

static int receive(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  SRTSOCKET listener = byteStream();
  if (srt_bind(listener, reinterpret_cast<sockaddr *>(&address), sizeof address) == SRT_ERROR) return 1;
  srt_listen(listener, 1);
  SRTSOCKET peer = srt_accept(listener, nullptr, nullptr);
  if (peer == SRT_INVALID_SOCK) return 1;
  for (;;) {
    const int bytes = srt_recv(peer, buffer.data(), buffer.size());
    if (bytes <= 0) break;
    for (int at = 0; at < bytes;) {
      const ssize_t written = write(STDOUT_FILENO, buffer.data() + at, bytes - at);
      if (written <= 0) return 1;
      at += written;
    }
  }
  srt_close(peer);
  srt_close(listener);
  return 0;
}

static int send(const char *host, int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  inet_pton(AF_INET, host, &address.sin_addr);
  SRTSOCKET peer = byteStream();
  if (srt_connect(peer, reinterpret_cast<sockaddr *>(&address), sizeof address) == SRT_ERROR) return 1;
  ssize_t bytes;
  while ((bytes = read(STDIN_FILENO, buffer.data(), buffer.size())) > 0) {
    for (ssize_t at = 0; at < bytes;) {
      const int sent = srt_send(peer, buffer.data() + at, bytes - at);
      if (sent == SRT_ERROR) return 1;
      at += sent;
    }
  }
  size_t blocks = 1, waiting = 1;
  while (blocks > 0 && srt_getsndbuffer(peer, &blocks, &waiting) >= 0) usleep(1000);
  SRT_TRACEBSTATS count;
  srt_bstats(peer, &count, 0);
  const char *path = getenv("SRT_PIPE_STATS");
  if (FILE *file = path ? fopen(path, "w") : nullptr) {
    fprintf(file, "sent %lld, of them again %d, loss reports %d packets, rtt %.3f ms, capacity %.1f Mbit/s\n",
            static_cast<long long>(count.pktSentTotal), count.pktRetransTotal, count.pktSndLossTotal, count.msRTT,
            count.mbpsBandwidth);
    fclose(file);
  }
  srt_close(peer);
  return 0;
}

int main(int count, char **arguments) {
  srt_startup();
  int status = 2;
  if (count == 3 && !strcmp(arguments[1], "recv")) status = receive(atoi(arguments[2]));
  else if (count == 4 && !strcmp(arguments[1], "send")) status = send(arguments[2], atoi(arguments[3]));
  srt_cleanup();
  return status;
}
