// Standard input over UDT to standard output, so that QEMU can migrate over it: see README.md.
//   udt-pipe recv PORT          udt-pipe send ADDRESS PORT
// Build: g++ -O1 -o udt-pipe udt-pipe.cpp -ludt   (Debian: libudt-dev)
#include <arpa/inet.h>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <udt/udt.h>
#include <unistd.h>
#include <vector>

static std::vector<char> buffer(65536);

static int receive(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  UDTSOCKET listener = UDT::socket(AF_INET, SOCK_STREAM, 0);
  if (UDT::bind(listener, reinterpret_cast<sockaddr *>(&address), sizeof address) == UDT::ERROR) return 1;
  UDT::listen(listener, 1);
  sockaddr_in peer;
  int size = sizeof peer;
  UDTSOCKET socket = UDT::accept(listener, reinterpret_cast<sockaddr *>(&peer), &size);
  for (int length; (length = UDT::recv(socket, buffer.data(), buffer.size(), 0)) > 0;) {
    for (int done = 0; done < length;) {
      ssize_t written = write(1, buffer.data() + done, length - done);
      if (written <= 0) return 1;
      done += written;
    }
  }
  UDT::close(socket);
  return 0;
}

static int transmit(const char *host, int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  inet_pton(AF_INET, host, &address.sin_addr);
  UDTSOCKET socket = UDT::socket(AF_INET, SOCK_STREAM, 0);
  int sendBuffer = 256 << 10; // small, so that QEMU feels the path
  UDT::setsockopt(socket, 0, UDT_SNDBUF, &sendBuffer, sizeof sendBuffer);
  if (UDT::connect(socket, reinterpret_cast<sockaddr *>(&address), sizeof address) == UDT::ERROR) return 1;
  for (ssize_t length; (length = read(0, buffer.data(), buffer.size())) > 0;) {
    for (int done = 0; done < length;) {
      int sent = UDT::send(socket, buffer.data() + done, length - done, 0);
      if (sent < 0) return 1;
      done += sent;
    }
  }
  UDT::TRACEINFO counters;
  UDT::perfmon(socket, &counters);
  fprintf(stderr, "sent %ld, sent again %d\n", long(counters.pktSentTotal), counters.pktRetransTotal);
  UDT::close(socket);
  return 0;
}

int main(int count, char **arguments) {
  UDT::startup();
  int result = 2;
  if (count == 3 && !strcmp(arguments[1], "recv")) result = receive(atoi(arguments[2]));
  if (count == 4 && !strcmp(arguments[1], "send")) result = transmit(arguments[2], atoi(arguments[3]));
  UDT::cleanup();
  return result;
}
