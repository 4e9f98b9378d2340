package e2e

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

// The marks that the disk prints on the serial console: the proof that a machine went on to its own disk.
const (
	markBIOSDisk = "DISK-REACHED-BIOS"
	markUEFIDisk = "DISK-REACHED-UEFI"
)

const (
	sectorSize  = 512
	diskSectors = 2880 // a floppy's worth: the smallest FAT12 that every firmware reads
	clusterSize = 8 * sectorSize
)

// newDisk writes a bootable disk image and returns its path. The one image serves both firmwares: it is a FAT12
// volume whose boot sector is what a BIOS runs, and whose \EFI\BOOT\BOOTX64.EFI is what UEFI runs. Either prints
// its mark on COM1 and switches the machine off.
func newDisk(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(path, diskImage(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// diskImage lays out the volume: boot sector, two FATs of 2 sectors, a root directory of one, then clusters.
// Each of \EFI, \EFI\BOOT and the file fits in one cluster, so every chain is a single end mark.
func diskImage() []byte {
	const (
		fat1, fat2, root, data = 1 * sectorSize, 3 * sectorSize, 5 * sectorSize, 6 * sectorSize
		efi, boot, file        = 2, 3, 4 // cluster numbers; the first cluster of data is 2
	)
	image := make([]byte, diskSectors*sectorSize)
	copy(image, bootSector())
	chains := []byte{0xF8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F} // media byte, reserved, three end marks
	copy(image[fat1:], chains)
	copy(image[fat2:], chains)

	cluster := func(n int) []byte { return image[data+(n-2)*clusterSize:] }
	app := efiApplication()
	copy(image[root:], dirEntry("EFI", true, efi, 0))
	copy(cluster(efi), bytes.Join([][]byte{
		dirEntry(".", true, efi, 0), dirEntry("..", true, 0, 0), dirEntry("BOOT", true, boot, 0),
	}, nil))
	copy(cluster(boot), bytes.Join([][]byte{
		dirEntry(".", true, boot, 0), dirEntry("..", true, efi, 0), dirEntry("BOOTX64 EFI", false, file, len(app)),
	}, nil))
	copy(cluster(file), app)
	return image
}

// dirEntry is one 32-byte entry of a FAT directory. name is in 8.3 form, padded, without its dot.
func dirEntry(name string, dir bool, cluster, size int) []byte {
	e := bytes.Repeat([]byte{0}, 32)
	copy(e, "           ")
	copy(e, name)
	e[11] = 0x20
	if dir {
		e[11] = 0x10
	}
	binary.LittleEndian.PutUint16(e[26:], uint16(cluster))
	binary.LittleEndian.PutUint32(e[28:], uint32(size))
	return e
}

// bootSector is FAT12's parameter block with our code behind it. A BIOS loads it at 0x7C00 in real mode.
func bootSector() []byte {
	const code = 62
	s := make([]byte, sectorSize)
	copy(s, []byte{0xEB, code - 2, 0x90}) // jmp short code; nop
	copy(s[3:], "PUREBOOT")
	le := binary.LittleEndian
	le.PutUint16(s[11:], sectorSize)
	s[13] = clusterSize / sectorSize
	le.PutUint16(s[14:], 1)  // reserved sectors: this one
	s[16] = 2                // FATs
	le.PutUint16(s[17:], 16) // root directory entries
	le.PutUint16(s[19:], diskSectors)
	s[21] = 0xF8            // a fixed disk
	le.PutUint16(s[22:], 2) // sectors per FAT
	le.PutUint16(s[24:], 18)
	le.PutUint16(s[26:], 2)
	s[36], s[38] = 0x80, 0x29
	copy(s[43:], "PUREBOOT   FAT12   ")

	text := s[code:]
	prologue := []byte{0x31, 0xC0, 0x8E, 0xD8, 0xBE, 0, 0} // xor ax,ax; mov ds,ax; mov si,mark
	body := printAndPowerOff(nil)
	n := copy(text, prologue)
	le.PutUint16(text[n-2:], uint16(0x7C00+code+n+len(body)))
	n += copy(text[n:], body)
	copy(text[n:], "\r\n"+markBIOSDisk+"\r\n\x00")
	s[510], s[511] = 0x55, 0xAA
	return s
}

// printAndPowerOff is x86 code that writes the zero-ended string at (r)si to COM1, then switches off by QEMU's ACPI
// register PM1a_CNT. The same bytes run in 16 and in 64 bit mode, but for the prefix that makes an operand 16 bits.
func printAndPowerOff(operand16 []byte) []byte {
	var loop bytes.Buffer // from "test al,al"'s jump target on
	loop.Write([]byte{0x88, 0xC4})
	loop.Write(operand16)
	loop.Write([]byte{
		0xBA, 0xFD, 0x03, // mov dx,0x3FD: line status
		0xEC, 0xA8, 0x20, 0x74, 0xFB, // in al,dx; test al,0x20; jz $-3: until there is room
		0x88, 0xE0, 0xB2, 0xF8, 0xEE, // mov al,ah; mov dl,0xF8; out dx,al
	})
	back := -(loop.Len() + 5 + 2) // to lodsb, from behind the jump
	loop.Write([]byte{0xEB, byte(int8(back))})

	var code bytes.Buffer
	code.WriteByte(0xFC)                                         // cld
	code.Write([]byte{0xAC, 0x84, 0xC0, 0x74, byte(loop.Len())}) // lodsb; test al,al; jz past the loop
	code.Write(loop.Bytes())                                     //
	code.Write(append(bytes.Clone(operand16), 0xBA, 0x04, 0x06)) // mov dx,0x604
	code.Write(append(bytes.Clone(operand16), 0xB8, 0x00, 0x20)) // mov ax,0x2000: sleep enable, type S5
	code.Write(append(bytes.Clone(operand16), 0xEF))             // out dx,ax
	code.Write([]byte{0xF4, 0xEB, 0xFD})                         // hlt, for ever
	return code.Bytes()
}

// efiApplication is the smallest PE32+ image that UEFI loads: headers, and one section with our code and its string.
func efiApplication() []byte {
	const headers, section, pe, optional = 0x200, 0x1000, 0x40, 0x40 + 24
	img := make([]byte, headers+0x200)
	le := binary.LittleEndian
	copy(img, "MZ")
	le.PutUint32(img[0x3C:], pe)

	copy(img[pe:], "PE\x00\x00")
	le.PutUint16(img[pe+4:], 0x8664)    // x86-64
	le.PutUint16(img[pe+6:], 1)         // sections
	le.PutUint16(img[pe+20:], 112+16*8) // size of the optional header
	le.PutUint16(img[pe+22:], 0x22)     // executable, large addresses

	le.PutUint16(img[optional:], 0x20B)        // PE32+
	le.PutUint32(img[optional+4:], 0x200)      // size of code
	le.PutUint32(img[optional+16:], section)   // entry point
	le.PutUint32(img[optional+20:], section)   // base of code
	le.PutUint32(img[optional+32:], section)   // alignment in memory
	le.PutUint32(img[optional+36:], 0x200)     // alignment in the file
	le.PutUint32(img[optional+56:], 2*section) // size of the image
	le.PutUint32(img[optional+60:], headers)   // size of the headers
	le.PutUint16(img[optional+68:], 10)        // an EFI application
	le.PutUint32(img[optional+108:], 16)       // data directories, all empty: nothing to relocate

	text := img[optional+112+16*8:]
	copy(text, ".text")
	le.PutUint32(text[8:], 0x200)
	le.PutUint32(text[12:], section)
	le.PutUint32(text[16:], 0x200)
	le.PutUint32(text[20:], headers)
	le.PutUint32(text[36:], 0x60000020) // code, execute, read

	body := printAndPowerOff([]byte{0x66})
	code := append([]byte{0x48, 0x8D, 0x35, byte(len(body)), 0, 0, 0}, body...) // lea rsi,[rip+body]
	code = append(code, "\r\n"+markUEFIDisk+"\r\n\x00"...)
	copy(img[headers:], code)
	return img
}
