/*
 * ids: how the 32-bit ids of commands are shared out, so that a reply tells by its id whose it is.
 *
 *      1          to 0x7FFFFFFF   publishes (window.h)
 *      0x80000001 to 0xFFFFFFFD   subscribe (subscriptions.h)
 *      0xFFFFFFFE                 unsubscribe: nothing waits for the reply
 *      0xFFFFFFFF                 auth
 */
#ifndef SHOAL_CLIENT_IDS_H
#define SHOAL_CLIENT_IDS_H

#define OTHER_IDS_FIRST 0x80000000u
#define OTHER_IDS_LAST  0x7FFFFFFDu /* the largest that is added to it */
#define ID_UNSUBSCRIBE  0xFFFFFFFEu
#define ID_AUTH         0xFFFFFFFFu

#endif
