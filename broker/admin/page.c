/*
 * page: page.html, which is part of the program: the assembler takes it in as it stands. See routes.h.
 */
#include "admin/routes.h"

__asm__(".section .rodata\n"
        ".global shoal_page\n.hidden shoal_page\nshoal_page:\n"
        ".incbin \"" SHOAL_PAGE_FILE "\"\n"
        ".global shoal_page_end\n.hidden shoal_page_end\nshoal_page_end:\n"
        ".byte 0\n"
        ".previous\n");

extern char shoal_page[];
extern char shoal_page_end[];

void page_answer(struct request *request, const char *rest)
{
    (void)rest;
    request->body = shoal_page;
    request->body_size = (size_t)(shoal_page_end - shoal_page);
    request->body_is_static = true;
    request->content_type = "text/html; charset=utf-8";
    request->status = MHD_HTTP_OK;
    request->answered = true;
}
