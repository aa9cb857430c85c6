// A sending thread that is too slow, whatever else the host does: each sendmsg() takes up to SEND_DELAY_US longer; with
// SLOW_SOCKET=n only on the n-th socket that sends.
// For LD_PRELOAD; QEMU's migration threads send by sendmsg() (io/channel-socket.c), its monitor is not slowed noticeably.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

ssize_t sendmsg(int socket, const struct msghdr *message, int flags) {
    static ssize_t (*real)(int, const struct msghdr *, int);
    static long most, slow;
    static int sockets[64], count;
    if (!real) {
        most = atol(getenv("SEND_DELAY_US"));
        slow = getenv("SLOW_SOCKET") ? atol(getenv("SLOW_SOCKET")) : 0;
        real = dlsym(RTLD_NEXT, "sendmsg");
    }
    int at = 0;
    while (at < count && sockets[at] != socket) at++;
    if (at == count && count < 64) sockets[count++] = socket;
    if (slow == 0 || at + 1 == slow) usleep(random() % most);
    return real(socket, message, flags);
}
