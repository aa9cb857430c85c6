; Boot sector of the guest in the recorded migrations: fills memory with one pattern a page, then dirties pages at a known rate.
;
; Defined by the caller (nasm -D): FILL_END, DIRTY_START, DIRTY_END (bytes, multiples of 4096), PAGES_PER_TICK (at TICK_HZ).
; With FIRMWARE the image is 64 KiB of flash that starts by itself, for captures that must pack well: SeaBIOS's code and its two copies do not.
; It sleeps in HLT between timer ticks, so a busy recording host changes the dirty rate little and other guests not at all.
; The dword at READY becomes READY_MARK when the fill is done; the recorder waits for it.

    bits 16
    org 0x7c00

READY       equ 0x7e00
READY_MARK  equ 0x600d600d
TICK_HZ     equ 100
PIT_RELOAD  equ 1193182 / TICK_HZ

    cli
    xor ax, ax
    mov ds, ax
    mov ss, ax
    mov sp, 0x7c00
    in al, 0x92                 ; A20 through the fast gate
    or al, 2
    out 0x92, al

    ; "Unreal" mode: ES keeps the 4 GiB limit it got in protected mode, the code stays 16-bit and interrupts stay simple.
    lgdt [gdt_pointer]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    mov bx, flat - gdt
    mov es, bx
    and al, ~1
    mov cr0, eax

%ifdef FIRMWARE                 ; what firmware leaves behind: IRQ 0 at vector 8, the interrupt controller's line open at the local APIC
    mov al, 0x11
    out 0x20, al
    mov al, 8
    out 0x21, al
    mov al, 4
    out 0x21, al
    mov al, 1
    out 0x21, al
    mov edi, 0xfee00000
    mov dword [es:edi + 0xf0], 0x1ff
    mov dword [es:edi + 0x350], 0x700
%endif

    ; Every page holds its own number, spread over the dword: pages differ, captures pack well, no page is zero.
    mov edi, 0x100000
fill:
    mov eax, edi
    shr eax, 12
    imul eax, eax, 0x01000193
    mov ecx, 1024
    a32 rep stosd
    cmp edi, FILL_END
    jb fill
    mov dword [READY], READY_MARK

    ; Timer interrupt at TICK_HZ through our own handler: the firmware's would write to its data area on every tick.
    mov word [8 * 4], tick
    mov word [8 * 4 + 2], 0
    mov al, 0x34                ; channel 0, low then high byte, mode 2
    out 0x43, al
    mov al, PIT_RELOAD & 0xff
    out 0x40, al
    mov al, PIT_RELOAD >> 8
    out 0x40, al
    mov al, 0xfe                ; only IRQ 0
    out 0x21, al

wait_tick:
    sti
    hlt
    ; A new value of CR0.WP empties the emulator's TLB, so that dirty tracking sees the first write to each page again. QEMU 7.2
    ; (10.0 no longer) clears its dirty bitmap in cpu_physical_memory_sync_dirty_bitmap() without telling the TLB, and misses
    ; writes to pages the TLB holds as dirty: later rounds would be empty.
    mov eax, cr0
    xor eax, 1 << 16
    mov cr0, eax
    mov cx, PAGES_PER_TICK
    jcxz wait_tick
dirty:                          ; a page chosen at random, so that successive rounds overlap: a linear congruence's upper part,
    imul ebp, ebp, 1664525      ; scaled to the number of pages
    add ebp, 1013904223
    mov eax, (DIRTY_END - DIRTY_START) / 4096
    mul ebp
    shl edx, 12
    inc dword [es:edx + DIRTY_START]
    loop dirty
    jmp wait_tick

tick:
    push ax
    mov al, 0x20
    out 0x20, al
    pop ax
    iret

    align 8
gdt:
    dq 0
flat:
    dq 0x00cf92000000ffff       ; data, base 0, limit 4 GiB
gdt_pointer:
    dw gdt_pointer - gdt - 1
    dd gdt

    times 510 - ($ - $$) db 0
    dw 0xaa55

%ifdef FIRMWARE
reset:                          ; the sector above, from the start of the flash to where a BIOS would load it
    push cs
    pop ds
    xor ax, ax
    mov es, ax
    xor si, si
    mov di, 0x7c00
    mov cx, 256
    cld
    rep movsw
    jmp 0:0x7c00

    times 0xfff0 - ($ - $$) db 0
    jmp 0xf000:(reset - $$)     ; where the processor starts
    times 0x10000 - ($ - $$) db 0
%endif
